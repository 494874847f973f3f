#!/bin/bash
# Send the sample call, one HEP packet per datagram: send.sh [ADDRESS [PORT]]
# The packets carry no time, so that the rows get the time of their arrival.
cd "$(dirname "$0")" || exit 3
for f in *.hep; do
	cat "$f" >"/dev/udp/${1:-127.0.0.1}/${2:-9060}" || exit 3
done
echo "sent $(ls -- *.hep | wc -l) HEP packets to ${1:-127.0.0.1}:${2:-9060}"
