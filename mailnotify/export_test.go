package mailnotify

// For the external tests of the parts.
var (
	Line          = line
	PlainAddress  = plainAddress
	MaxRemembered = maxRemembered
)

// Memory is memory, with the event and who was told.
type Memory struct{ m memory }

func (m *Memory) Has(event, to string) bool { return m.m.has(keyOf(event, to)) }
func (m *Memory) Add(event, to string)      { m.m.add(keyOf(event, to)) }
