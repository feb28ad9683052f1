#!/usr/bin/env bash
# _launch.sh NAME [ARGUMENT...]: run stack/NAME.py with a Python that is new enough. Nothing needs to be installed yet.
set -euo pipefail

found=
for python in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
    # A name may be a stub that exists and does not run.
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    found="$found $python is $version;"
    case $version in
        3.[0-9]) continue ;;
        3.*) exec "$python" "$(dirname "${BASH_SOURCE[0]}")/_launch.py" "$@" ;;
    esac
done
cat >&2 <<END
Python 3.10 or newer is needed${found:+, but${found%;}}.
  Debian, Ubuntu:  apt-get install python3 python3-venv
  macOS:           brew install python3
If one is installed under another name, give it: PYTHON=/path/to/python3 ./scripts/$1
END
exit 1
