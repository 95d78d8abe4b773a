#!/bin/sh
# The whole handshake of README's "Testing", as a phone and a dashboard see it, with curl, openssl, jq and websocat:
# once in two steps, once in one. Ends with 0 if all of it is as the contract says, else with the first difference.
#
#   test/handshake.sh [URL]      the API of a running server; default $HANDSHAKE_URL, else http://localhost:15000
#
# In the environment: HANDSHAKE_USER and HANDSHAKE_PASSWORD, by default those of the development data;
# HANDSHAKE_SERVER_KEY, a PEM file for the one-step form, by default what the server answered in the two-step form;
# GATEWAY_MYSQL_USERNAME and its like (`. .dev/env` sets them), with which the stored row is checked too.
set -eu

url=${1:-${HANDSHAKE_URL:-http://localhost:15000}}
url=${url%/}
user=${HANDSHAKE_USER:-dead3662-5f78-11ed-b8e7-6d06c3aaf3c6}
password=${HANDSHAKE_PASSWORD:-dummy_password}
top=$(cd "$(dirname "$0")/.." && pwd)
PATH=$PATH:${CARGO_TARGET_DIR:-$top/target}/tools/bin

# --- telling ---

begun=$(date +%s%N)

step() {
    now=$((($(date +%s%N) - begun) / 1000000))
    printf 'ok %3d.%03d s  %s\n' $((now / 1000)) $((now % 1000)) "$*"
}

fail() {
    printf 'FAILED  %s\n' "$*" >&2
    exit 1
}

# --- the dashboard ---

# Opens a session and leaves websocat behind it, which writes a frame a line.
open_session() {
    socket_url=$(curl -sS --noproxy '*' --max-time 15 --fail "$url/v2/sync/users/$user") || fail "GET $url/v2/sync/users/$user"
    case $socket_url in
    ws://*/v2/sync/init/"$user"/* | wss://*/v2/sync/init/"$user"/*) ;;
    *) fail "GET answered no socket URL: $socket_url" ;;
    esac
    step "GET the socket URL: $socket_url"
    : >frames
    # Without -n the end of stdin closes the socket.
    websocat -n "$socket_url" >frames 2>websocat.log </dev/null &
    dashboard=$!
    await "the first frame" 'has_url'
    frame=$(sed -n 1p frames)
    qr_url=$(printf %s "$frame" | jq -re .qr_url) || fail "the first frame holds no qr_url: $frame"
    mobile_url=$(printf %s "$frame" | jq -re .mobile_url) || fail "the first frame holds no mobile_url: $frame"
    [ "$mobile_url" = "app${qr_url#http}" ] || fail "mobile_url differs in more than its scheme: $frame"
    resource=${qr_url#*://*/}
    resource=/${resource%/handshake}
    case $resource in /v2/sync/users/"$user"/sessions/*) ;; *) fail "the QR code's URL is another one: $qr_url" ;; esac
    step "the socket shows $qr_url"
}

# await WHAT COMMAND: polls for up to 5 s.
await() {
    tries=0
    until $2; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "$1 did not come within 5 s; the socket: $(cat frames websocat.log)"
        sleep 0.05
    done
}

has_url() { grep -q qr_url frames; }
has_pause() { grep -qx '201- pause' frames; }
has_ack() { grep -qx '200- ack' frames; }
is_closed() { ! kill -0 "$dashboard" 2>/dev/null; }

# After the pause come the ack and the close, and no further URL.
await_end() {
    await "200- ack" has_ack
    step "the socket says 200- ack"
    await "the close" is_closed
    wait "$dashboard" || fail "websocat ends with $?: $(cat websocat.log)"
    dashboard=
    [ "$(sed -n '/^201/,$p' frames | tr '\n' '|')" = '201- pause|200- ack|' ] || fail "the frames are others: $(cat frames)"
    step "the socket is closed"
}

# --- the phone ---

# post STATUS URL BODY: leaves the answer in the file `answer`.
post() {
    status=$(curl -sS --noproxy '*' --max-time 15 -o answer -w '%{http_code}' -H 'Content-Type: application/json' -d "$3" "$2") ||
        fail "POST $2"
    [ "$status" = "$1" ] || fail "POST $2 answered $status: $(cat answer)"
}

# answer_has FILTER: the answer is as the jq filter says.
answer_has() {
    jq -e "$1" answer >/dev/null || fail "the answer is not as it should be ($1): $(jq -c 'del(.shared_key)' answer)"
}

make_phone_key() {
    openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out phone.key 2>/dev/null ||
        openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out phone.key 2>/dev/null || fail "openssl genpkey"
    openssl pkey -in phone.key -pubout -out phone.pub
}

# encrypt MGF1 KEY: the password as base64 of lines, which is how Android writes it.
encrypt() {
    printf %s "$password" | openssl pkeyutl -encrypt -pubin -inkey "$2" -pkeyopt rsa_padding_mode:oaep \
        -pkeyopt rsa_oaep_md:sha256 -pkeyopt "rsa_mgf1_md:$1" -out encrypted || fail "openssl cannot encrypt under $2"
    openssl base64 -in encrypted -out password
}

check_shared_key() {
    jq -re .shared_key answer | openssl base64 -d -A >encrypted || fail "shared_key is not base64"
    openssl pkeyutl -decrypt -inkey phone.key -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 \
        -pkeyopt rsa_mgf1_md:sha1 -in encrypted -out shared_key || fail "shared_key is not encrypted for this phone"
    LC_ALL=C grep -qxE '[0-9a-f]{32}' shared_key || fail "shared_key is not 32 lower-case hexadecimal characters"
    [ "$(wc -c <shared_key)" -eq 32 ] || fail "shared_key is not 32 bytes long"
    step "shared_key decrypts to 32 lower-case hexadecimal characters"
}

# check_row MGF1: the database holds this phone's keys.
check_row() {
    [ "${GATEWAY_MYSQL_USERNAME:-}" ] || return 0
    if [ "${GATEWAY_MYSQL_SOCKET:-}" ]; then
        set -- "$1" --host=localhost --socket="$GATEWAY_MYSQL_SOCKET"
    else
        set -- "$1" --protocol=tcp --host="${GATEWAY_MYSQL_HOST:-127.0.0.1}" --port="${GATEWAY_MYSQL_PORT:-3306}"
    fi
    mgf1=$1
    shift
    MYSQL_PWD=${GATEWAY_MYSQL_PASSWORD:-} mariadb --no-defaults "$@" --user="$GATEWAY_MYSQL_USERNAME" --batch \
        --skip-column-names --raw --execute="SELECT JSON_OBJECT('shared_key', shared_key, 'public_key', public_key,
            'mgf1ParameterSpec', mgf1ParameterSpec, 'hashingAlgorithm', hashingAlgorithm, 'date', date)
            FROM gateway_server_users WHERE msisdn_hash = '$msisdn_hash'" "${GATEWAY_MYSQL_DATABASE:-swob_gateway}" \
        >row || fail "the database cannot be asked"
    [ -s row ] || fail "gateway_server_users has no row $msisdn_hash"
    jq -e --rawfile shared_key shared_key --rawfile public_key phone.pub --arg mgf1 "$mgf1" '
        .shared_key == $shared_key and .mgf1ParameterSpec == $mgf1 and .hashingAlgorithm == "sha256"
        and (.public_key | rtrimstr("\n")) == ($public_key | rtrimstr("\n"))' row >/dev/null ||
        fail "the row is another one: $(jq -c 'del(.shared_key)' row)"
    step "gateway_server_users: $(jq -r '"sha256, MGF1 \(.mgf1ParameterSpec), \(.date), both keys as the phone has them"' row)"
}

# --- the two forms ---

two_steps() {
    echo "Two steps: first the key, then the password"
    make_phone_key
    open_session
    # The raw newlines of the PEM stand in the JSON string, as shell clients send it.
    post 200 "$qr_url" "{\"public_key\":\"$(cat phone.pub)\"}"
    answer_has "all(.[]; type == \"string\") and .verification_url == \"$resource\""
    jq -r .public_key answer >server.pem
    openssl pkey -pubin -in server.pem -noout || fail "the server's public_key is no PEM"
    step "POST public_key: the server's key and $resource"
    await "201- pause" has_pause
    step "the socket says 201- pause"
    encrypt sha1 server.pem
    body=$(jq -n --rawfile password password '{$password}')
    verification_url=${qr_url%%/v2/*}$(jq -r .verification_url answer)
    post 200 "$verification_url" "$body"
    answer_has '(.msisdn_hash | test("^[0-9a-f]{128}$")) and (.user_platforms | type == "array") and
        (.seeds_url | type == "string") and .gateway_clients == []'
    msisdn_hash=$(jq -r .msisdn_hash answer)
    step "POST password: $(jq -r '"saved platforms: \([.user_platforms[].name] | join(", "))"' answer)"
    await_end
    check_shared_key
    check_row sha1
    post 404 "$verification_url" "$body"
    step "the same POST again: 404"
}

one_step() {
    echo "One step: key and password together"
    make_phone_key
    open_session
    encrypt sha256 "$1"
    body=$(jq -n --rawfile public_key phone.pub --rawfile password password \
        '{public_key: ($public_key | rtrimstr("\n")), mgf1ParameterSpec: "sha256", $password}')
    post 200 "$qr_url" "$body"
    answer_has '(.msisdn_hash | test("^[0-9a-f]{128}$")) and
        ([.user_platforms.saved_platforms, .user_platforms.unsaved_platforms] | all(type == "array"))'
    msisdn_hash=$(jq -r .msisdn_hash answer)
    step "POST both: $(jq -r '.user_platforms | "saved platforms: \([.saved_platforms[].name] | join(", ")); unsaved: \(
        [.unsaved_platforms[].name] | join(", "))"' answer)"
    await_end
    check_shared_key
    check_row sha256
}

for program in curl jq openssl websocat; do
    command -v $program >/dev/null || fail "$program is missing; \`make setup websocat\` brings it"
done
server_key=
if [ "${HANDSHAKE_SERVER_KEY:-}" ]; then
    server_key=$(cd "$(dirname "$HANDSHAKE_SERVER_KEY")" && pwd)/$(basename "$HANDSHAKE_SERVER_KEY")
fi
dashboard=
folder=$(mktemp -d)
trap 'if [ "$dashboard" ]; then kill "$dashboard" 2>/dev/null || :; fi; rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cd "$folder"
umask 077

two_steps
one_step "${server_key:-server.pem}"
echo "The handshake is whole, in both forms."
