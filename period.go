package apitoken

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Period is a length of time in calendar terms, UTC. A year from a day is the
// same day next year; 29 February gives 28 February. The zero Period is none.
type Period struct {
	Years, Days int
}

// IsZero reports whether p is none.
func (p Period) IsZero() bool { return p == Period{} }

// String returns the period in words: "90 days", "1 year".
func (p Period) String() string {
	word := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case p.Years == 0:
		return word(p.Days, "day")
	case p.Days == 0:
		return word(p.Years, "year")
	}
	return word(p.Years, "year") + " and " + word(p.Days, "day")
}

// after returns the instant p after t.
func (p Period) after(t time.Time) time.Time {
	t = t.UTC()
	y, m, d := t.Date()
	if m == time.February && d == 29 && !leap(y+p.Years) {
		t = t.AddDate(0, 0, -1)
	}
	return t.AddDate(p.Years, 0, p.Days)
}

func leap(y int) bool { return y%4 == 0 && (y%100 != 0 || y%400 == 0) }

// MarshalText writes p as ISO 8601 does: P90D, P1Y, P1Y30D; "" for none.
func (p Period) MarshalText() ([]byte, error) {
	if p.IsZero() {
		return nil, nil
	}
	b := []byte("P")
	if p.Years != 0 {
		b = append(strconv.AppendInt(b, int64(p.Years), 10), 'Y')
	}
	if p.Days != 0 {
		b = append(strconv.AppendInt(b, int64(p.Days), 10), 'D')
	}
	return b, nil
}

// UnmarshalText reads what MarshalText writes. Months, weeks and times are
// refused.
func (p *Period) UnmarshalText(text []byte) error {
	m := periodText.FindStringSubmatch(string(text))
	if len(text) > 0 && (m == nil || m[0] == "P") {
		return fieldErr("period", "%q is no period: write years and days, such as P1Y, P90D or P1Y30D", clip(string(text)))
	}
	*p = Period{}
	if m != nil {
		p.Years, _ = strconv.Atoi(m[1]) // "" is 0; the digits are few enough
		p.Days, _ = strconv.Atoi(m[2])
	}
	return nil
}

var periodText = regexp.MustCompile(`^P(?:(\d{1,4})Y)?(?:(\d{1,6})D)?$`)
