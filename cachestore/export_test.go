package cachestore

import "time"

// Forever is what is too old for everything.
const Forever = forever

// Age is moment.age of what was read at zero.
func Age(steady, wall time.Duration) time.Duration {
	return moment{}.age(moment{int64(steady), int64(wall)})
}
