package fhirpath

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var decimalText = rapid.StringMatching(`-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,12})?`)

func number(t *rapid.T, label string) (Value, *big.Rat) {
	s := decimalText.Draw(t, label)
	v, err := Decimal(s)
	if err != nil {
		t.Fatalf("%s is refused", s)
	}
	if v.Text() != s {
		t.Fatalf("%s became %s", s, v.Text())
	}
	r, _ := new(big.Rat).SetString(s)
	return v, r
}

// TestDecimals compares sums, products and order with exact fractions.
func TestDecimals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, x := number(t, "a")
		b, y := number(t, "b")
		if got, want := compareNumbers(a, b), x.Cmp(y); got != want {
			t.Fatalf("%s <=> %s: %d", a.Text(), b.Text(), got)
		}
		for op, want := range map[byte]*big.Rat{'+': new(big.Rat).Add(x, y), '-': new(big.Rat).Sub(x, y), '*': new(big.Rat).Mul(x, y)} {
			v := arithmetic(op, a, b)
			got, ok := new(big.Rat).SetString(v.Text())
			if !ok {
				t.Fatalf("%s %c %s = %q", a.Text(), op, b.Text(), v.Text())
			}
			// 38 digits are kept: the error is below the last of them.
			diff := new(big.Rat).Sub(got, want)
			bound := new(big.Rat).Mul(new(big.Rat).Abs(want), big.NewRat(1, 1e18))
			bound.Mul(bound, big.NewRat(1, 1e18))
			if diff.Abs(diff).Cmp(bound) > 0 {
				t.Fatalf("%s %c %s = %s", a.Text(), op, b.Text(), v.Text())
			}
		}
		if again := negate(negate(a)); compareNumbers(again, a) != 0 {
			t.Fatalf("-(-%s) = %s", a.Text(), again.Text())
		}
		low, ok1 := numberBoundary(a, 31, false)
		high, ok2 := numberBoundary(a, 31, true)
		if !ok1 || !ok2 || compareNumbers(low, a) >= 0 || compareNumbers(a, high) >= 0 {
			t.Fatalf("%s lies between %s and %s", a.Text(), low.Text(), high.Text())
		}
	})
}

func date(t *rapid.T, label string) time.Time {
	return time.Date(rapid.IntRange(1, 9998).Draw(t, label+" year"), time.Month(rapid.IntRange(1, 12).Draw(t, label+" month")),
		rapid.IntRange(1, 28).Draw(t, label+" day"), rapid.IntRange(0, 23).Draw(t, label+" hour"), rapid.IntRange(0, 59).Draw(t, label+" minute"),
		rapid.IntRange(0, 59).Draw(t, label+" second"), 0, time.UTC)
}

// TestDates compares the calendar with Go's: order, addition, boundaries.
func TestDates(t *testing.T) {
	const form = "2006-01-02T15:04:05"
	rapid.Check(t, func(t *rapid.T) {
		a, b := date(t, "a"), date(t, "b")
		x, ok1 := parseDateTime(a.Format(form))
		y, ok2 := parseDateTime(b.Format(form))
		if !ok1 || !ok2 {
			t.Fatal("refused")
		}
		if order, decided := compareTime(x, y); !decided || order != a.Compare(b) {
			t.Fatalf("%v <=> %v: %d, %v", a, b, order, decided)
		}
		c := NewContext()
		n := rapid.IntRange(-100_000, 100_000).Draw(t, "n")
		for unit, want := range map[timeUnit]time.Time{unitDay: a.AddDate(0, 0, n), unitHour: a.Add(time.Duration(n) * time.Hour),
			unitSecond: a.Add(time.Duration(n) * time.Second)} {
			got, ok := c.addTime(x, unit, int64(n))
			if inside := want.Year() >= 1 && want.Year() <= 9999; ok != inside || ok && got.Text() != want.Format(form) {
				t.Fatalf("%v + %d of %d = %s, want %v", a, n, unit, got.Text(), want)
			}
		}
		months := rapid.IntRange(-2000, 2000).Draw(t, "months")
		if got, ok := c.addTime(x, unitMonth, int64(months)); ok && got.Text() != a.AddDate(0, months, 0).Format(form) { // no day after the 28th: Go agrees
			t.Fatalf("%v + %d months = %s", a, months, got.Text())
		}
		// A partial date lies between its boundaries, and is undecided against what lies inside it.
		digits := rapid.SampledFrom([]int{4, 7, 10, 13, 16}).Draw(t, "digits")
		text := a.Format(form)[:digits]
		part, ok := parseDateTime(text)
		if !ok {
			t.Fatalf("%s is refused", text)
		}
		if _, decided := compareTime(part, x); decided {
			t.Fatalf("%s against %v is decided", text, a)
		}
		low, high := c.boundary(part, 17, false), c.boundary(part, 17, true)
		if low.num > x.num || high.num < x.num {
			t.Fatalf("%s lies within %s and %s", text, low.Text(), high.Text())
		}
	})
}

// TestZones: a moment is the same in every zone, and undecided against one without a zone that is less than a day away.
func TestZones(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := date(t, "a").AddDate(1, 0, 0)
		offset := rapid.IntRange(-12*60, 14*60).Draw(t, "offset")
		x, _ := parseDateTime(a.Format("2006-01-02T15:04:05Z07:00"))
		y, ok := parseDateTime(a.In(time.FixedZone("", offset*60)).Format("2006-01-02T15:04:05-07:00"))
		if !ok {
			t.Fatal("refused")
		}
		if order, decided := compareTime(x, y); !decided || order != 0 {
			t.Fatalf("%s and %s differ", x.Text(), y.Text())
		}
		bare, _ := parseDateTime(a.Format("2006-01-02T15:04:05"))
		if _, decided := compareTime(x, bare); decided {
			t.Fatalf("%s and %s are decided", x.Text(), bare.Text())
		}
	})
}

func TestPartialDates(t *testing.T) {
	for _, test := range []struct{ expression, want string }{
		{"@2014 = @2014-01", "[]"}, {"@2014 < @2015-01", "[true]"}, {"@2014-05 > @2014-04-30", "[true]"}, {"@2014-05 >= @2014-05-31", "[]"},
		{"@2014 = @2014", "[true]"}, {"@2014-01-31 + 1 month", "[2014-02-28]"}, {"@2016-02-29 + 1 year", "[2017-02-28]"},
		{"@2014 + 24 months", "[2016]"}, {"@2014 + 23 months", "[2015]"}, {"@2014-03 - 1 month", "[2014-02]"}, {"@T23:30 + 1 hour", "[00:30]"},
		{"@2014-01-01T10:00:00 + 1.5 seconds", "[2014-01-01T10:00:01]"}, {"@2014-01-01T10:00:00.0 + 1.5 seconds", "[2014-01-01T10:00:01.5]"},
		{"@9999-12-31 + 1 day", "[]"}, {"@2014-01-01T10:00:00Z = @2014-01-01T12:00:00", "[]"}, {"@2014-01-01T10:00:00Z < @2014-01-03T12:00:00", "[true]"},
		{"1.50", "[1.50]"}, {"1.50 = 1.5", "[true]"}, {"0.1 + 0.2", "[0.3]"}, {"1 / 3", "[0.333333333333333333]"}, {"2147483647 + 1", "[]"},
		{"5.5 div 0.7", "[7]"}, {"-5 mod 3", "[-2]"}, {"1.005.round(2)", "[1.01]"}, {"(-1.5).floor()", "[-2]"}, {"(-1.5).ceiling()", "[-1]"},
		{"1 year = 12 months", "[true]"}, {"1 year = 1 'a'", "[]"}, {"1 year ~ 1 'a'", "[true]"}, {"1 'kg' + 1 'g'", "[1001 'g']"},
		{"37 'Cel' = 98.6 '[degF]'", "[true]"}, {"1 'm' * 2 's'", "[2 'm.s']"}, {"1 'mg' = 1 's'", "[false]"},
		{"'5.0 \\'mg\\''.toQuantity('g')", "[0.005 'g']"}, {"1.2300.precision()", "[4]"}, {"@2014-01-01T10:30.precision()", "[12]"},
	} {
		if got := fmt.Sprint(evaluate(t, test.expression, &Env{}, Value{})); got != test.want {
			t.Errorf("%s: got %s, want %s", test.expression, got, test.want)
		}
	}
}
