#!/bin/sh
# Lets group adainf, and so the services, read what root put into the folder of the configuration, whatever owner and
# mode an editor, a copy or a strict umask left. The units run it as root before each start and reload.
#
#   hand-over.sh FOLDER
#
# Left as they are: FOLDER/keys and secret keys (systemd hands those over), what everybody may read, and what a link
# leads to.
set -eu
find "$1" -path "$1/keys" -prune -o -name '*.key_secret' -o \
    \( -type f -o -type d \) \( ! -group adainf -o ! -perm -g=r \) ! -perm -o=r \
    -exec chgrp adainf {} + -exec chmod g+rX {} +
