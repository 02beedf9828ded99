#!/bin/sh
# Sends one signed request with nothing but a POSIX shell, openssl and curl, and
# prints the answer. Ends with an error unless it is a success.
#
#   signed.sh jws|jwt METHOD TARGET [JSON]
#   signed.sh jwt PUT /v1/devices/laptop-7 '{"locked":true}'
#
# From the environment:
#   SERVER       such as https://api.example.com
#   TOKEN_FILE   the .token file of a generated secret, or else
#   TOKEN_ID     the ID of a token whose public key was uploaded, and
#   PRIVATE_KEY  the file privateKey.pem
#   AUDIENCE     what the service calls itself, for jwt
#   TUNNEL       where it takes a JWS, for jws; /jws/validate by default
#
# Neither the secret nor the private key is ever an argument of a program: those can
# be seen by everybody on the machine.
set -eu
umask 077

fail() {
	echo "signed.sh: $*" >&2
	exit 2
}

# base64url encodes its input without padding (RFC 7515, section 2).
base64url() {
	openssl base64 -A | tr '+/' '-_' | tr -d '='
}

# hex_of writes its input in hexadecimal, bytes_of the reverse.
hex_of() {
	od -An -v -tx1 | tr -d ' \n'
}

bytes_of() {
	rest=$1
	while [ -n "$rest" ]; do
		pair=${rest%"${rest#??}"}
		rest=${rest#??}
		# shellcheck disable=SC2059 # the byte is the format: %b is no better for NUL
		printf "\\$(printf %03o "0x$pair")"
	done
}

# es256 signs its input. openssl writes r and s as two numbers of ASN.1, without
# leading zeros; JWS has them one after the other, 32 bytes each (RFC 7518, 3.4).
es256() {
	numbers=$(openssl dgst -sha256 -sign "$PRIVATE_KEY" | openssl asn1parse -inform DER | sed -n 's/.*INTEGER *://p')
	for number in $numbers; do
		bytes_of "$(printf '%64s' "$number" | tr ' ' 0)"
	done
}

# hs256 signs its input: HMAC with SHA-256 (RFC 2104). openssl has it too, and wants
# the key as an argument. The key is the text of the secret as it was shown, which is
# longer than a block of SHA-256, so its digest takes its place.
hs256() {
	key=$(printf %s "$secret" | openssl dgst -sha256 -binary | hex_of)
	inner=$( (bytes_of "$(padded "$key" 54)" && cat) | openssl dgst -sha256 -binary | hex_of)
	(bytes_of "$(padded "$key" 92)" && bytes_of "$inner") | openssl dgst -sha256 -binary
}

# padded combines each byte of a key with a number by exclusive or, up to the 64 bytes
# of a block: 54 is the inner padding, 92 the outer one.
padded() {
	rest=$1$(printf %064d 0)
	while [ -n "$rest" ]; do
		pair=${rest%"${rest#??}"}
		rest=${rest#??}
		printf %02x $((0x$pair ^ $2))
	done
}

# compact writes a compact JWS of a header and a payload.
compact() {
	input=$(printf %s "$1" | base64url).$(printf %s "$2" | base64url)
	printf %s.%s "$input" "$(printf %s "$input" | "$sign" | base64url)"
}

# milliseconds since 1970. Where date knows only seconds the rest is made up: the
# service refuses a second request that is the same and of the same millisecond.
milliseconds() {
	now=$(date +%s%3N)
	case $now in
	*[!0-9]*) now=$(date +%s)$(printf %03d $((0x$(openssl rand -hex 2) % 1000))) ;;
	esac
	echo "$now"
}

jws_request() {
	path=${target%%\?*} query=
	[ "$path" = "$target" ] || query=${target#*\?}
	header='{"alg":"'$algorithm'","kid":"'$id'","method":"'$method'","content-type":"application/json","uri":"'$path'","query-string":"'$query'","issuedAt":'$(milliseconds)'}'
	payload='{}'
	[ -z "$body" ] || payload='{"data":'$body'}'
	compact "$header" "$payload" |
		curl -sS --fail-with-body -H 'Content-Type: application/jose' --data-binary @- "$SERVER${TUNNEL:-/jws/validate}"
}

jwt_request() {
	: "${AUDIENCE:?is what the service calls itself}"
	now=$(date +%s)
	digest=$(printf %s "$body" | openssl dgst -sha256 -binary | hex_of)
	claims='{"iat":'$now',"exp":'$((now + 120))',"jti":"'$(openssl rand -hex 16)'","aud":"'$AUDIENCE'","method":"'$method'","uri":"'$target'","body_sha256":"'$digest'"}'
	token=$(compact '{"alg":"'$algorithm'","kid":"'$id'","typ":"JWT"}' "$claims")
	set -- -sS --fail-with-body --globoff --path-as-is -X "$method" -H @-
	[ -z "$body" ] || set -- "$@" -H 'Content-Type: application/json' --data-raw "$body"
	printf 'Authorization: Bearer %s\n' "$token" | curl "$@" "$SERVER$target"
}

[ $# -eq 3 ] || [ $# -eq 4 ] || fail "usage: signed.sh jws|jwt METHOD TARGET [JSON]"
scheme=$1 method=$2 target=$3 body=${4-}
: "${SERVER:?is where to send the request}"
case $method$target in
*['"\ ']*) fail "percent-encode quotes, backslashes and spaces" ;;
esac
if [ -n "${TOKEN_FILE-}" ]; then
	id=$(sed -n 's/^Token ID: //p' "$TOKEN_FILE" | tr -d '\r')
	secret=$(sed -n 's/^Secret Key: //p' "$TOKEN_FILE" | tr -d '\r')
	[ -n "$id" ] && [ ${#secret} -gt 64 ] || fail "$TOKEN_FILE is no .token file of a secret key that signs"
	algorithm=HS256 sign=hs256
else
	id=${TOKEN_ID:?is needed with PRIVATE_KEY, or TOKEN_FILE without}
	openssl ec -in "${PRIVATE_KEY:?is needed with TOKEN_ID}" -noout 2>/dev/null || fail "$PRIVATE_KEY is no EC private key"
	algorithm=ES256 sign=es256
fi
case $scheme in
jws | jwt) "${scheme}_request" ;;
*) fail "the scheme is jws or jwt" ;;
esac
