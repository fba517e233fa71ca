#!/usr/bin/env bash
# Real database servers for tests: PostgreSQL and MariaDB, each in a folder of its own, on a free port of loopback, as an
# unprivileged user. Nothing of the system's own servers is touched or started.
#
#   services.sh start DIR    installs what is missing (Debian, root), starts both, prints `export NAME=…` lines
#   services.sh stop DIR     stops both and deletes DIR
#
# DIR must not exist, or be empty. `scripts/services/with COMMAND…` does both around a command.
set -euo pipefail

readonly user=chartlift-services # the servers refuse to run as root
readonly tries=5                 # a port that was free may be taken before the server binds it
readonly wait_seconds=30

fail() { echo "services: $*" >&2; exit 1; }

postgres_bin() { # the newest one
  local found
  found=$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
  [ -n "$found" ] && dirname "$found"
}

install_missing() {
  local packages=()
  postgres_bin >/dev/null || packages+=(postgresql)
  # The core packages hold the programs alone: no service, no system database.
  if ! command -v mariadbd >/dev/null || ! command -v mariadb-install-db >/dev/null; then packages+=(mariadb-server-core); fi
  command -v mariadb >/dev/null || packages+=(mariadb-client-core)
  [ ${#packages[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || fail "please install: ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local no_cluster=/etc/postgresql-common/createcluster.d/chartlift-services.conf
  {
    apt-get update
    if [[ " ${packages[*]} " == *" postgresql "* ]]; then
      # Debian's package makes and starts a cluster of its own unless it is told not to.
      apt-get install -y --no-install-recommends postgresql-common
      mkdir -p "$(dirname "$no_cluster")"
      echo 'create_main_cluster = false' >"$no_cluster"
    fi
    apt-get install -y --no-install-recommends "${packages[@]}" || { rm -f "$no_cluster"; return 1; }
    rm -f "$no_cluster"
  } >&2
}

# as runs a command as the unprivileged user, or, for who is not root, as it is.
as() {
  if [ "$(id -u)" != 0 ]; then "$@"; else setpriv --reuid="$user" --regid="$user" --clear-groups -- "$@"; fi
}

free_port() {
  perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport'
}

secret() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

start_postgres() {
  local bin home=$dir/postgres password port
  bin=$(postgres_bin)
  password=$(secret)
  echo "$password" | as tee "$dir/postgres.password" >/dev/null
  as "$bin/initdb" -D "$home" -U chartlift --auth=scram-sha-256 --pwfile="$dir/postgres.password" \
    --encoding=UTF8 --locale=C.UTF-8 --no-sync >"$dir/postgres.log" 2>&1 || { cat "$dir/postgres.log" >&2; fail "initdb"; }
  for _ in $(seq "$tries"); do
    port=$(free_port)
    if as "$bin/pg_ctl" -D "$home" -l "$dir/postgres.server.log" -w -t "$wait_seconds" start -o "-h 127.0.0.1 -p $port -k '$dir' \
      -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=100" >/dev/null; then
      echo "export CHARTLIFT_POSTGRES='postgres://chartlift:$password@127.0.0.1:$port/postgres?sslmode=disable'"
      return
    fi
  done
  cat "$dir/postgres.server.log" >&2
  fail "PostgreSQL does not start"
}

start_mariadb() {
  local home=$dir/mariadb password port pid
  password=$(secret)
  for _ in 1 2 3; do # beside another one that is setting up, mariadbd 10.11 has been seen to crash here
    rm -rf "$home"
    as mariadb-install-db --no-defaults --datadir="$home" --skip-test-db --auth-root-authentication-method=normal \
      >"$dir/mariadb.log" 2>&1 && break
  done
  [ -d "$home/mysql" ] || { cat "$dir/mariadb.log" >&2; fail "mariadb-install-db"; }
  # One statement a line: that is what an init file is.
  printf '%s\n' "CREATE USER IF NOT EXISTS chartlift@'127.0.0.1' IDENTIFIED BY '$password';" \
    "GRANT ALL ON *.* TO chartlift@'127.0.0.1' WITH GRANT OPTION;" "CREATE DATABASE IF NOT EXISTS chartlift;" |
    as tee "$dir/mariadb.sql" >/dev/null
  for _ in $(seq "$tries"); do
    port=$(free_port)
    as mariadbd --no-defaults --datadir="$home" --socket="$dir/mariadb.sock" --pid-file="$dir/mariadb.pid" \
      --bind-address=127.0.0.1 --port="$port" --skip-name-resolve --init-file="$dir/mariadb.sql" \
      --character-set-server=utf8mb4 --innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync --innodb-doublewrite=0 \
      --log-bin="$home/log" --max-allowed-packet=64M >>"$dir/mariadb.log" 2>&1 </dev/null &
    pid=$!
    for _ in $(seq $((wait_seconds * 5))); do
      if MYSQL_PWD=$password mariadb --no-defaults -h127.0.0.1 -P"$port" -uchartlift -e 'SELECT 1' >/dev/null 2>&1; then
        echo "export CHARTLIFT_MARIADB='chartlift:$password@tcp(127.0.0.1:$port)/chartlift'"
        return
      fi
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.2
    done
    stop_mariadb
  done
  cat "$dir/mariadb.log" >&2
  fail "MariaDB does not start"
}

stop_postgres() {
  [ -f "$dir/postgres/postmaster.pid" ] || return 0
  as "$(postgres_bin)/pg_ctl" -D "$dir/postgres" -m immediate -w -t "$wait_seconds" stop >/dev/null
}

stop_mariadb() {
  [ -f "$dir/mariadb.pid" ] || return 0
  local pid
  pid=$(cat "$dir/mariadb.pid")
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq $((wait_seconds * 5))); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.2
  done
  kill -9 "$pid"
}

start() {
  mkdir -p "$dir"
  [ -z "$(ls -A "$dir")" ] || fail "$dir is not empty"
  install_missing
  if [ "$(id -u)" = 0 ]; then
    id "$user" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin "$user"
    chown "$user:$user" "$dir"
  fi
  chmod 700 "$dir"
  cd "$dir" # the servers look into the folder they are started in
  trap '[ "$started" = yes ] || stop' EXIT
  start_postgres
  start_mariadb
  started=yes
}

stop() {
  stop_postgres || true
  stop_mariadb || true
  rm -rf "$dir"
}

[ $# = 2 ] || fail "usage: services.sh start|stop DIR"
dir=$(realpath -m "$2")
started=no
case $1 in
  start) start ;;
  stop) stop ;;
  *) fail "usage: services.sh start|stop DIR" ;;
esac
