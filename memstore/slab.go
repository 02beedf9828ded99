package memstore

// slab keeps byte strings in large blocks without pointers, so that the garbage
// collector sees a few blocks and not every string. What is freed is used again
// for strings of about the same length; it is not given back.
type slab struct {
	classes []class
}

// class keeps strings that fit into slots of one size.
type class struct {
	blocks [][]byte
	free   []uint32 // slots to use again
	slots  uint32   // slots ever used
}

// ref is where a string is. The zero ref is the empty string.
type ref struct {
	slot, size uint32
	class      uint8
}

const (
	smallestSlot = 64
	blockSize    = 32 << 10
)

// slotSize returns the size of a class's slots: 64, 96, 128, 192, 256, ...
func slotSize(class uint8) int {
	size := smallestSlot << (class / 2)
	if class%2 == 1 {
		size += size / 2
	}
	return size
}

func classFor(n int) uint8 {
	var c uint8
	for slotSize(c) < n {
		c++
	}
	return c
}

// put stores a copy of b.
func (s *slab) put(b []byte) ref {
	if len(b) == 0 {
		return ref{}
	}
	r := ref{class: classFor(len(b)), size: uint32(len(b))}
	for len(s.classes) <= int(r.class) {
		s.classes = append(s.classes, class{})
	}
	c := &s.classes[r.class]
	if n := len(c.free); n > 0 {
		r.slot, c.free = c.free[n-1], c.free[:n-1]
	} else {
		r.slot = c.slots
		c.slots++
		size := slotSize(r.class)
		if perBlock := max(1, blockSize/size); int(r.slot)/perBlock == len(c.blocks) {
			c.blocks = append(c.blocks, make([]byte, perBlock*size))
		}
	}
	copy(s.get(r), b)
	return r
}

// get returns the string itself, not a copy: it is good until the slab changes.
func (s *slab) get(r ref) []byte {
	if r.size == 0 {
		return nil
	}
	size := slotSize(r.class)
	perBlock := max(1, blockSize/size)
	at := int(r.slot) % perBlock * size
	return s.classes[r.class].blocks[int(r.slot)/perBlock][at : at+int(r.size)]
}

// replace stores b instead of what is at r.
func (s *slab) replace(r ref, b []byte) ref {
	if r.size > 0 && len(b) > 0 && r.class == classFor(len(b)) {
		r.size = uint32(len(b))
		copy(s.get(r), b)
		return r
	}
	s.drop(r)
	return s.put(b)
}

func (s *slab) drop(r ref) {
	if r.size > 0 {
		c := &s.classes[r.class]
		c.free = append(c.free, r.slot)
	}
}
