# Sourced by what runs a Java program of ours on libraries from Maven Central. The name of the folder that sources it is
# what its messages begin with.

readonly tries=3 # a registry may be out for a moment

fail() { echo "$(basename "$here"): $*" >&2; exit 1; }

# install_missing installs a JDK and Maven where they are missing (Debian, root).
install_missing() {
  local packages=()
  command -v javac >/dev/null || packages+=(default-jdk-headless) # a class is run from its source: a JRE cannot
  command -v mvn >/dev/null || packages+=(maven)
  [ ${#packages[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || fail "please install: ${packages[*]}"
  DEBIAN_FRONTEND=noninteractive
  export DEBIAN_FRONTEND
  { apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; } >&2
}

# class_path FILE writes the class path of the pom.xml beside the script into a file. Maven fetches what it names once and
# keeps it; without the network where it has everything already.
class_path() {
  local try
  ask_maven "$1" -o >/dev/null 2>&1 && return
  for try in $(seq "$tries"); do
    ask_maven "$1" >&2 && return
    [ "$try" = "$tries" ] || sleep 5
  done
  fail "Maven cannot fetch what pom.xml names"
}

ask_maven() { mvn -q -B "${@:2}" -f "$here/pom.xml" dependency:build-classpath -Dmdep.outputFile="$1"; }
