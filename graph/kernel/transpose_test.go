package kernel

import (
	"fmt"
	"slices"
	"testing"
)

func TestTranspose(t *testing.T) {
	for _, c := range []struct{ shape, perm []int }{
		{[]int{}, []int{}},
		{[]int{5}, []int{0}},
		{[]int{3, 5}, []int{1, 0}},
		{[]int{3, 5}, []int{0, 1}},
		{[]int{300, 517}, []int{1, 0}},
		{[]int{2, 3, 4}, []int{0, 2, 1}},
		{[]int{2, 3, 4}, []int{2, 1, 0}},
		{[]int{2, 3, 4}, []int{1, 0, 2}},
		{[]int{2, 3, 4}, []int{1, 2, 0}},
		{[]int{4, 7, 5, 6}, []int{0, 2, 3, 1}},
		{[]int{4, 7, 5, 6}, []int{0, 3, 1, 2}},
		{[]int{2, 3, 1, 5, 2}, []int{4, 2, 0, 3, 1}},
		{[]int{2, 0, 4}, []int{2, 1, 0}},
		{[]int{1, 3, 1, 2}, []int{3, 2, 1, 0}},
		{[]int{70, 20, 30, 3}, []int{2, 0, 3, 1}},
	} {
		t.Run(fmt.Sprintf("%v/%v", c.shape, c.perm), func(t *testing.T) {
			testPermutation[int64](t, c.shape, c.perm)
			testPermutation[float32](t, c.shape, c.perm)
		})
	}
	p := NewTranspose[float32]([]int{500, 300}, []int{1, 0})
	x, y := make([]float32, 500*300), make([]float32, 500*300)
	noAllocs(t, func(team *Team) { p.Run(team, y, x) })
}

func testPermutation[E int64 | float32](t *testing.T, shapeX, perm []int) {
	x := make([]E, product(shapeX))
	for i := range x {
		x[i] = E(i)
	}
	inverse := make([]int, len(perm))
	shape := make([]int, len(perm))
	for i, p := range perm {
		shape[i], inverse[p] = shapeX[p], i
	}
	for _, threads := range []int{1, 2, 3} {
		team := NewTeam(threads)
		y := make([]E, len(x))
		NewTranspose[E](shapeX, perm).Run(team, y, x)
		from := make([]int, len(shape))
		coordinates(shape, func(flat int, at []int) {
			for i, p := range perm {
				from[p] = at[i]
			}
			if want := x[flatten(shapeX, from)]; y[flat] != want {
				t.Fatalf("element %v is %v, want %v", at, y[flat], want)
			}
		})
		back := make([]E, len(x))
		NewTranspose[E](shape, inverse).Run(team, back, y)
		if !slices.Equal(back, x) {
			t.Fatal("transposing back does not give the input")
		}
		team.Close()
	}
}

func BenchmarkTranspose(b *testing.B) {
	for _, c := range []struct{ shape, perm []int }{
		{[]int{1024, 1024}, []int{1, 0}},
		{[]int{16, 64, 56 * 56}, []int{0, 2, 1}},
		{[]int{16, 197, 12, 64}, []int{0, 2, 1, 3}},
	} {
		b.Run(fmt.Sprint(c.shape, c.perm), func(b *testing.B) {
			x, y := make([]float32, product(c.shape)), make([]float32, product(c.shape))
			p := NewTranspose[float32](c.shape, c.perm)
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				p.Run(nil, y, x)
			}
		})
	}
}
