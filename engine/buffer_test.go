package engine

import (
	"sync"
	"testing"
)

// classSizes are the capacities of pooled blocks, in bytes.
var classSizes = []int{1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10}

func TestBlockClasses(t *testing.T) {
	if len(classSizes) != numClasses {
		t.Fatalf("%d classes, want %d", numClasses, len(classSizes))
	}
	check := func(n int) {
		b := newBlock(n)
		want, class := n, -1
		for i, size := range classSizes {
			if n <= size {
				want, class = size, i
				break
			}
		}
		if len(b.data) != 0 || cap(b.data) != want || int(b.class) != class {
			t.Fatalf("newBlock(%d): %d of %d bytes, class %d; want 0 of %d, class %d", n, len(b.data), cap(b.data), b.class, want, class)
		}
		if freed := b.release(); freed != int64(want) {
			t.Fatalf("releasing a block for %d bytes freed %d, want %d", n, freed, want)
		}
	}
	for n := range 5000 {
		check(n)
	}
	for shift := range 22 { // around every power of two, up to 2 MiB
		for d := -2; d <= 2; d++ {
			check(max(0, 1<<shift+d))
		}
	}
	for n := 5000; n <= 2<<20; n += 4999 {
		check(n)
	}
}

// Only the last of the loops that share a block gives its memory back, and reports its size.
func TestBlockSharedRelease(t *testing.T) {
	for _, n := range []int{100, 60 << 10, 1 << 20} {
		b := newBlock(n)
		size := int64(cap(b.data))
		b.data = append(b.data, make([]byte, n)...)
		b.shared.Store(3)
		for i, want := range []int64{0, 0, size} {
			if got := b.release(); got != want {
				t.Errorf("release %d of a block of %d bytes freed %d, want %d", i, size, got, want)
			}
		}
	}
}

// Loops release at the same time: what they report adds up to the capacity, once.
func TestBlockConcurrentRelease(t *testing.T) {
	const loops = 8
	for range 500 {
		b := newBlock(1)
		b.shared.Store(loops)
		var wg sync.WaitGroup
		freed := make([]int64, loops)
		for i := range loops {
			wg.Go(func() { freed[i] = b.release() })
		}
		wg.Wait()
		var sum int64
		for _, n := range freed {
			sum += n
		}
		if sum != int64(classSizes[0]) {
			t.Fatalf("%d bytes freed, want %d", sum, classSizes[0])
		}
	}
}

// A block comes back from its pool empty and held by one loop.
func TestBlockReused(t *testing.T) {
	for range 100 {
		b := newBlock(2000)
		if len(b.data) != 0 || b.shared.Load() != 1 {
			t.Fatalf("new block has %d bytes and %d holders", len(b.data), b.shared.Load())
		}
		b.data = append(b.data, "left over"...)
		b.release()
	}
}

// Memory that grew by itself is no size class and must not get into a pool.
func TestAdoptGrownBlock(t *testing.T) {
	l := bareLoop(t, Config{})
	b := newBlock(10)
	l.accounts.add(KindShared, int64(cap(b.data)))
	h := l.newRef(b, KindShared)
	grown := append(b.data, make([]byte, 3000)...)
	l.adopt(h, grown)
	if b.class != -1 || l.accounts.now[KindShared] != int64(cap(grown)) {
		t.Errorf("class %d, counted %d; want -1, %d", b.class, l.accounts.now[KindShared], cap(grown))
	}
	l.releaseRef(h)
	if l.accounts.now[KindShared] != 0 {
		t.Errorf("%d bytes are still counted", l.accounts.now[KindShared])
	}
}

func TestHoldsReused(t *testing.T) {
	l := bareLoop(t, Config{})
	hs := make([]*blockRef, maxRefs+100)
	for i := range hs {
		b := newBlock(1)
		l.accounts.add(KindShared, int64(cap(b.data)))
		hs[i] = l.newRef(b, KindShared)
		hs[i].growing = true
	}
	for _, h := range hs {
		l.releaseRef(h)
	}
	if l.memory.numRefs != maxRefs || l.accounts.now[KindShared] != 0 {
		t.Errorf("%d holds are kept, want %d; %d bytes are counted", l.memory.numRefs, maxRefs, l.accounts.now[KindShared])
	}
	n := 0
	for h := l.memory.refs; h != nil; h = h.next {
		n++
	}
	if n != maxRefs {
		t.Errorf("the free list has %d holds, want %d", n, maxRefs)
	}
	b := newBlock(1)
	if h := l.newRef(b, KindShared); h.block != b || h.refs != 1 || h.growing || h.next != nil {
		t.Errorf("reused ref: %+v", h)
	}
}

func BenchmarkBlock(b *testing.B) {
	for _, n := range []int{100, 60 << 10} {
		b.Run("", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				newBlock(n).release()
			}
		})
	}
}
