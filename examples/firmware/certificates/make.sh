#!/bin/sh
# Makes the test authority and the server's identity anew: a P-384 root, a P-256 intermediate and a P-256 leaf for api.test, which is
# the shape that Google Trust Services has. The keys are public, so nobody must trust this root but an image in QEMU.
set -eu
cd "$(dirname "$0")"
keys=$(mktemp -d)
trap 'rm -r "$keys"' EXIT
issue() { # name, curve, subject, extensions, signer's options
    openssl ecparam -name "$2" -genkey -noout -out "$keys/$1.key"
    openssl req -new -key "$keys/$1.key" -subj "/CN=$3" -out "$keys/$1.csr"
    printf '%s\n' "$4" > "$keys/$1.ext"
    name=$1
    shift 4
    openssl x509 -req -in "$keys/$name.csr" -days 7300 -extfile "$keys/$name.ext" -out "$keys/$name.pem" "$@" 2> /dev/null
}
authority='basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign'
issue root secp384r1 'toolrunner test root' "$authority" -sha384 -key "$keys/root.key"
issue middle prime256v1 'toolrunner test intermediate' "$authority" -sha384 -CA "$keys/root.pem" -CAkey "$keys/root.key"
issue leaf prime256v1 api.test 'subjectAltName=DNS:api.test
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth' -sha256 -CA "$keys/middle.pem" -CAkey "$keys/middle.key"
openssl x509 -in "$keys/root.pem" -outform der -out root.der
cat "$keys/leaf.pem" "$keys/middle.pem" > server.pem
openssl pkcs8 -topk8 -nocrypt -in "$keys/leaf.key" -out server.key
