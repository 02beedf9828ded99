package sqlengine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// never stands for 'never' in columns that are sorted by an instant to come.
const never = math.MaxInt64

// into takes a destination when columns are read, and reports whether they are.
func (c *columns) into(name string, dest any) bool {
	switch c.mode {
	case naming:
		c.names = append(c.names, name)
		return true
	case reading:
		c.args = append(c.args, dest)
		return true
	}
	return false
}

// put adds a value to write.
func (c *columns) put(value any) { c.args = append(c.args, value) }

func (c *columns) text(name string, p *string, most int) {
	if c.into(name, p) {
		return
	}
	if !storable(*p, most) {
		c.faults = append(c.faults, fmt.Sprintf("%s is longer than %d bytes, not UTF-8, or has a zero byte", name, most))
	}
	c.put(*p)
}

// optional is a text that has to be unique, unless there is none.
func (c *columns) optional(name string, p *string) {
	switch {
	case c.into(name, (*optional)(p)):
	case *p == "":
		c.put(nil)
	default:
		c.text(name, p, maxIdentifier)
	}
}

func (c *columns) bytes(name string, p *[]byte) {
	if c.into(name, p) {
		return
	}
	if len(*p) > maxBytes {
		c.faults = append(c.faults, fmt.Sprintf("%s is longer than %d bytes", name, maxBytes))
	}
	c.put(append([]byte{}, *p...)) // never nil, which would be NULL
}

func (c *columns) number(name string, p *int64) {
	if !c.into(name, p) {
		c.put(*p)
	}
}

func (c *columns) count(name string, p *int) {
	if !c.into(name, (*count)(p)) {
		c.put(int64(*p))
	}
}

func (c *columns) flag(name string, p *bool) {
	if !c.into(name, (*flag)(p)) {
		c.put(number(*p))
	}
}

func (c *columns) instant(name string, p *time.Time) {
	if !c.into(name, (*instant)(p)) {
		c.put(micros(*p))
	}
}

// endless is an instant to come: 'never' is later than all others.
func (c *columns) endless(name string, p *time.Time) {
	if !c.into(name, (*endless)(p)) {
		c.put(microsOrNever(*p))
	}
}

func (c *columns) list(name string, p *[]string) {
	if !c.into(name, (*texts)(p)) {
		c.put(encodeList(*p))
	}
}

func (c *columns) networks(name string, p *[]netip.Prefix) {
	if !c.into(name, (*prefixes)(p)) {
		c.put(encodeList(*p))
	}
}

func (c *columns) address(name string, p *netip.Addr) {
	if !c.into(name, (*address)(p)) {
		c.put(encodeAddress(*p))
	}
}

func (c *columns) pairs(name string, p *map[string]string) {
	if !c.into(name, (*pairs)(p)) {
		c.put(encodePairs(*p))
	}
}

// number is a truth as all engines keep it.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// micros is an instant as it is stored: microseconds since 1970, 0 = the zero
// instant.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func microsOrNever(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func encodeList[T any](l []T) string {
	if len(l) == 0 {
		return ""
	}
	b, err := json.Marshal(l)
	if err != nil {
		panic("sqlengine: a list cannot be encoded: " + err.Error()) // strings and addresses always can
	}
	return string(b)
}

func encodeAddress(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// encodePairs writes a JSON object with each pair on a line of its own. A line
// break never stands in a JSON string, so a pair is found by searching its line,
// without a function that only one engine has.
func encodePairs(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	var b bytes.Buffer
	b.WriteString("{\n")
	for i, key := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.WriteString(",\n")
		}
		b.WriteString(encodePair(key, m[key]))
	}
	b.WriteString("}")
	return b.String()
}

// encodePair is the line of one pair. It ends in a line break, and what stands
// before it does too.
func encodePair(key, value string) string {
	return encodeText(key) + ":" + encodeText(value) + "\n"
}

func encodeText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("sqlengine: a text cannot be encoded: " + err.Error())
	}
	return string(b)
}

// What follows reads a column into a field. Drivers hand out whole numbers as
// int64, some as text, and texts as string or []byte.
type (
	instant  time.Time
	endless  time.Time
	flag     bool
	count    int
	optional string
	address  netip.Addr
	pairs    map[string]string
	texts    []string
	prefixes []netip.Prefix
)

func (p *instant) Scan(src any) error {
	n, err := scanNumber(src)
	*p = instant(fromMicros(n))
	return err
}

func (p *endless) Scan(src any) error {
	n, err := scanNumber(src)
	*p = endless{}
	if n != never {
		*p = endless(time.UnixMicro(n).UTC())
	}
	return err
}

func (p *flag) Scan(src any) error {
	n, err := scanNumber(src)
	*p = n != 0
	return err
}

func (p *count) Scan(src any) error {
	n, err := scanNumber(src)
	*p = count(n)
	return err
}

func (p *optional) Scan(src any) error {
	if src == nil {
		*p = ""
		return nil
	}
	s, err := scanText(src)
	*p = optional(s)
	return err
}

func (p *address) Scan(src any) error {
	s, err := scanText(src)
	if err != nil || s == "" {
		*p = address{}
		return err
	}
	a, err := netip.ParseAddr(s)
	*p = address(a)
	return err
}

func (p *pairs) Scan(src any) error { return scanJSON(src, (*map[string]string)(p)) }

func (p *prefixes) Scan(src any) error { return scanJSON(src, (*[]netip.Prefix)(p)) }

func (p *texts) Scan(src any) error {
	s, err := scanText(src)
	if err != nil {
		return err
	}
	if plain, ok := cutTexts(s); ok {
		*p = plain
		return nil
	}
	return scanJSON(s, (*[]string)(p))
}

// cutTexts reads a JSON array of texts in which nothing is escaped, as nearly all
// are: a parser would take a tenth of the time of a look-up.
func cutTexts(s string) ([]string, bool) {
	inner, open := strings.CutPrefix(s, `["`)
	inner, closed := strings.CutSuffix(inner, `"]`)
	if !open || !closed || strings.Contains(inner, `\`) {
		return nil, false
	}
	all := strings.Split(inner, `","`)
	return all, strings.Count(inner, `"`) == 2*(len(all)-1) // else there are spaces
}

func scanJSON(src, dest any) error {
	s, err := scanText(src)
	if err != nil || s == "" {
		return err
	}
	return json.Unmarshal([]byte(s), dest)
}

func scanNumber(src any) (int64, error) {
	switch v := src.(type) {
	case int64:
		return v, nil
	case []byte:
		return strconv.ParseInt(string(v), 10, 64)
	case string:
		return strconv.ParseInt(v, 10, 64)
	}
	return 0, fmt.Errorf("a column holds a %T where a whole number belongs", src)
}

func scanText(src any) (string, error) {
	switch v := src.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	}
	return "", fmt.Errorf("a column holds a %T where a text belongs", src)
}
