package profile

import (
	"math"
	"strconv"
)

// spread is how the values of a column are distributed, over fixed grids: numbers by their first two digits, dates by
// their month. It holds no value.
type spread struct {
	numbers, months map[int]int64
}

func newSpread() spread { return spread{map[int]int64{}, map[int]int64{}} }

// Months outside of these years are sentinels or slips, and would let the grid grow.
const firstYear, lastYear = 1800, 2200

func (s spread) add(text, kind string, readings []reading, rows int64) {
	switch kind {
	case TypeInteger, TypeDecimal:
		if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			s.numbers[numberCell(f)] += rows
		}
	case TypeDate, TypeDateTime:
		if r := readings[0]; r.year >= firstYear && r.year <= lastYear {
			s.months[r.year*12+max(r.month, 1)-1] += rows
		}
	}
}

func (s spread) merge(o spread) {
	for k, n := range o.numbers {
		s.numbers[k] += n
	}
	for k, n := range o.months {
		s.months[k] += n
	}
}

// widest is the largest power of ten that the grid tells apart, either way.
const widest = 30

// numberCell is the cell of a number: its sign, its power of ten and its first two digits, in the order of numbers.
func numberCell(f float64) int {
	if f == 0 {
		return 0
	}
	size := math.Abs(f)
	power := min(widest, max(-widest, int(math.Floor(math.Log10(size)))))
	digits := min(99, max(10, int(size/math.Pow10(power)*10+1e-9)))
	cell := (power+widest)*90 + digits - 9
	if f < 0 {
		return -cell
	}
	return cell
}

// cellName is a cell as people read it.
func cellName(kind string, cell int) string {
	if kind == spreadMonths {
		return strconv.Itoa(cell/12) + "-" + string([]byte{'0' + byte((cell%12+1)/10), '0' + byte((cell%12+1)%10)})
	}
	if cell == 0 {
		return "0"
	}
	sign := ""
	if cell < 0 {
		sign, cell = "-", -cell
	}
	power, digits := (cell-1)/90-widest, (cell-1)%90+10
	return sign + strconv.FormatFloat(float64(digits)*math.Pow10(power-1), 'f', max(0, 1-power), 64)
}

// The kinds of a distribution.
const (
	spreadNumbers = "numbers"
	spreadMonths  = "months"
)

// main is the grid on which most of the values lie, "" if neither holds as good as all.
func (s spread) main(filled int64) (kind string, cells map[int]int64) {
	const most = 0.9
	for _, g := range []struct {
		kind  string
		cells map[int]int64
	}{{spreadNumbers, s.numbers}, {spreadMonths, s.months}} {
		n := int64(0)
		for _, rows := range g.cells {
			n += rows
		}
		if filled > 0 && float64(n) >= most*float64(filled) {
			return g.kind, g.cells
		}
	}
	return "", nil
}
