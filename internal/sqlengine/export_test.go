package sqlengine

var (
	StatementsUp = statementsUp
	EncodePairs  = encodePairs
	EncodePair   = encodePair
	Storable     = storable
	NoTable      = noTable
	CutTexts     = cutTexts
)

// What faultOf may answer.
const (
	FaultOther     = int(faultOther)
	FaultConflict  = int(faultConflict)
	FaultDuplicate = int(faultDuplicate)
)

func FaultOf(err error) int { return int(faultOf(err)) }

// TokenColumns are the columns that statements name.
func TokenColumns() []string { return tokenColumns((*columns).token) }
