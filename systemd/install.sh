#!/bin/sh
# Puts the daemon where systemd finds it, or takes it away again; `make install` and `make uninstall` call this.
#
#   install.sh install|uninstall
#
# PREFIX      the virtual environment (/opt/adainf)
# SYSCONFDIR  configuration and policies (/etc/adainf)
# UNITDIR     the units (/usr/local/lib/systemd/system)
# BINDIR      links to the commands (/usr/local/bin)
# DESTDIR     put before all of these, for making a package; then nothing is told to systemd
# PYTHON      makes the environment (/usr/bin/python3: one below a home would be hidden from the service)
# VENV_OPTIONS, PIP_OPTIONS   more options of `python -m venv` and `pip install`
# EXTRAS      of the package (demo: weights of the default model)
#
# An owner's file that was changed is never overwritten: the new one is put beside it as FILE.new.
set -eu

PREFIX=${PREFIX:-/opt/adainf}
SYSCONFDIR=${SYSCONFDIR:-/etc/adainf}
UNITDIR=${UNITDIR:-/usr/local/lib/systemd/system}
BINDIR=${BINDIR:-/usr/local/bin}
DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-/usr/bin/python3}
EXTRAS=${EXTRAS-demo}
MODELS=/var/opt/adainf
UNITS='adainfd@ adainfd-relay@'

source=$(cd "$(dirname "$0")/.." && pwd)
prefix=$DESTDIR$PREFIX
config=$DESTDIR$SYSCONFDIR
pristine=$prefix/share/adainf/etc

fail() { echo "install: $*" >&2; exit 78; }

systemd_runs() { [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; }

# The owner's files: put FILE, mode MODE, unless the owner has changed the one that is there.
put() {
    file=$1 from=$2
    new=$pristine/$file
    if [ ! -e "$config/$file" ] || { [ -e "$new" ] && cmp -s "$config/$file" "$new"; }; then
        install -D -m 640 "$from" "$config/$file"
        rm -f "$config/$file.new"
    elif ! cmp -s "$config/$file" "$from"; then
        install -D -m 640 "$from" "$config/$file.new"
        echo "install: $SYSCONFDIR/$file was changed and stays; the new one is $file.new"
    fi
    install -D -m 644 "$from" "$new"
}

# The shipped files name the default folders.
here() { sed "s|/opt/adainf/|$PREFIX/|g; s|/etc/adainf|$SYSCONFDIR|g"; }

owners_files() {
    echo edge.toml
    for policy in "$source"/calibration/policies/*.toml; do echo "policies/$(basename "$policy")"; done
}

install_all() {
    [ -x "$PYTHON" ] || fail "PYTHON=$PYTHON: no such program"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$PYTHON: must be Python 3.11 or newer"
    # shellcheck disable=SC2086   # options are words
    [ -x "$prefix/bin/pip" ] || "$PYTHON" -m venv ${VENV_OPTIONS:-} "$prefix" || fail "no virtual environment at $prefix"
    # It is removed as a whole by uninstall: nothing else may live there.
    [ -f "$prefix/pyvenv.cfg" ] || fail "PREFIX=$PREFIX: is there already, and no virtual environment"
    # shellcheck disable=SC2086
    "$prefix/bin/pip" install --disable-pip-version-check --quiet --upgrade ${PIP_OPTIONS:-} \
        "$source${EXTRAS:+[$EXTRAS]}"
    if [ -n "$DESTDIR" ]; then                  # the scripts name their interpreter by its path
        grep -rlI "$prefix" "$prefix/bin" "$prefix/pyvenv.cfg" | xargs -r sed -i "s|$prefix|$PREFIX|g"
    fi

    [ -n "$DESTDIR" ] || add_group
    example=$(mktemp)
    here <"$source/systemd/edge.toml" >"$example"
    put edge.toml "$example"
    rm -f "$example"
    for policy in "$source"/calibration/policies/*.toml; do put "policies/$(basename "$policy")" "$policy"; done
    install -d -m 755 "$config" "$config/policies"
    install -d -m 700 "$config/keys"
    install -d -m 755 "$DESTDIR$MODELS"
    [ -n "$DESTDIR" ] || chgrp adainf "$config"/*.toml "$config"/policies/*.toml

    install -d "$DESTDIR$UNITDIR" "$DESTDIR$BINDIR" "$prefix/share/doc/adainf"
    for unit in $UNITS; do here <"$source/systemd/$unit.service" >"$DESTDIR$UNITDIR/$unit.service"; done
    install -D -m 644 "$source/systemd/sysusers.conf" "$prefix/share/adainf/sysusers.conf"
    install -m 644 "$source"/README.md "$source"/docs/*.md "$prefix/share/doc/adainf/"
    for command in adainf adainfd; do ln -sfn "$PREFIX/bin/$command" "$DESTDIR$BINDIR/$command"; done
    if systemd_runs; then systemctl daemon-reload; fi
    echo "install: done; edit $SYSCONFDIR/edge.toml, then: systemctl enable --now adainfd@edge"
}

add_group() {
    getent group adainf >/dev/null && return
    if command -v systemd-sysusers >/dev/null; then systemd-sysusers "$source/systemd/sysusers.conf"
    else groupadd --system adainf; fi
}

uninstall_all() {
    if systemd_runs; then
        for unit in $(systemctl list-units --all --plain --no-legend 'adainfd@*' 'adainfd-relay@*' | cut -d' ' -f1); do
            systemctl disable --quiet --now "$unit" || true
            systemctl reset-failed "$unit" 2>/dev/null || true
        done
    fi
    if [ -d "$pristine" ]; then
        owners_files | while read -r file; do
            if cmp -s "$config/$file" "$pristine/$file"; then rm -f "$config/$file"; fi
            rm -f "$config/$file.new"
        done
    fi
    for unit in $UNITS; do rm -f "$DESTDIR$UNITDIR/$unit.service"; done
    for command in adainf adainfd; do
        link=$DESTDIR$BINDIR/$command
        if [ "$(readlink "$link")" = "$PREFIX/bin/$command" ]; then rm -f "$link"; fi
    done
    if [ -f "$prefix/pyvenv.cfg" ]; then rm -rf "$prefix"; fi
    rm -rf "$DESTDIR$MODELS"
    for kind in lib cache; do rm -rf "$DESTDIR/var/$kind/adainf" "$DESTDIR/var/$kind/private/adainf"; done
    rm -rf "$DESTDIR/run/adainf" "$DESTDIR/run/private/adainf"
    units=$DESTDIR$UNITDIR
    for folder in "$units" "${units%/*}" "$config/policies" "$config/keys" "$config"; do rmdir "$folder" 2>/dev/null || true; done
    if [ -z "$DESTDIR" ]; then
        if [ -d "$config" ]; then chgrp -R root "$config"; fi
        if getent group adainf >/dev/null; then groupdel adainf; fi
    fi
    if systemd_runs; then systemctl daemon-reload; fi
    if [ -d "$config" ]; then echo "uninstall: done; your configuration stays in $SYSCONFDIR"; else echo "uninstall: done"; fi
}

case ${1-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) fail "usage: $0 install|uninstall" ;;
esac
