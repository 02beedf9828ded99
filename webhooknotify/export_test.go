package webhooknotify

// For the external tests of the parts.
var (
	Public        = public
	Sign          = sign
	ParseSecret   = parseSecret
	MessageID     = messageID
	MaxRemembered = maxRemembered
)

// Memory is memory, with the event and where it went.
type Memory struct{ m memory }

func (m *Memory) Has(event, to string) bool { return m.m.has(keyOf(event, to)) }
func (m *Memory) Add(event, to string)      { m.m.add(keyOf(event, to)) }
