package apitoken

var (
	ParseCanonicalKey = parseCanonicalKey
	IsDERSignature    = isDERSignature
)

func (k PublicKey) VerifyES256(signed, signature []byte) bool {
	return k.verifyES256(signed, signature)
}
