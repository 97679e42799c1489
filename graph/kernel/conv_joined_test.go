package kernel

import (
	"fmt"
	"testing"
)

// TestConvJoined compares what a convolution and its gradient take along with sums
// in double precision, in every combination, in place and not, and the bits of two
// threads with those of one.
func TestConvJoined(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	met := 0
	for _, g := range convCases() {
		g = g.withDefaults()
		if !ConvJoins[float32](g, WinogradWhereFits) || g.H > 40 {
			continue
		}
		met++
		t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
			for _, tl := range tilings[float32]() {
				testConvJoined(t, team, tl, g)
			}
			testConvJoined(t, team, tilings[float64]()[0], g)
		})
	}
	if met < 5 {
		t.Errorf("%d cases of convolutions that join anything", met)
	}
}

func testConvJoined[T Float](t *testing.T, team *Team, tl *tiling[T], g ConvGeom) {
	x, w, dy := [2][]T{}, [2][]T{}, [2][]T{}
	for i := range x {
		x[i], w[i], dy[i] = make([]T, g.xSize()), make([]T, g.wSize()), make([]T, g.ySize())
		fill(x[i], uint64(1+i))
		fill(w[i], uint64(3+i))
		fill(dy[i], uint64(5+i))
	}
	bias := make([]T, g.OutC)
	fill(bias, 7)
	var y, dx [2][]float64
	for i := range y {
		y[i], dx[i] = make([]float64, g.ySize()), make([]float64, g.xSize())
		eachProduct(g, func(yi, wi, xi int) {
			y[i][yi] += float64(w[i][wi]) * float64(x[i][xi])
			dx[i][xi] += float64(w[i][wi]) * float64(dy[i][yi])
		})
	}
	opt := ConvOptions{Winograd: WinogradWhereFits}
	rectified := opt
	rectified.Activation = Rectifier
	conv := [2]*Conv[T]{newConv(tl, g, opt), newConv(tl, g, rectified)}
	input := newConvGradInput(tl, g, opt)
	for way := range 16 {
		second, addend, mask, rectify := way&1 != 0, way&2 != 0, way&4 != 0, way>>3
		name := fmt.Sprintf("%s: second %v, addend %v, mask %v", tl.name, second, addend, mask)
		joined := func(x, w []T, size int) Joined[T] {
			var j Joined[T]
			if second {
				j.X, j.W = x, w
			}
			if addend {
				j.Addend = fill(make([]T, size), 8)
			}
			if mask {
				j.Mask = fill(make([]T, size), 9)
			}
			return j
		}
		j := joined(x[1], w[1], g.ySize())
		checkJoined(t, team, fmt.Sprint("y, ", name, ", rectified ", rectify), j, y, func(i int) T { return bias[i/(g.OH*g.OW)%g.OutC] }, rectify != 0, g.C*18,
			func(team *Team, z []T, j Joined[T]) { conv[rectify].RunJoined(team, x[0], w[0], bias, z, j) })
		if rectify == 0 {
			j := joined(dy[1], w[1], g.xSize())
			checkJoined(t, team, "dx, "+name, j, dx, func(int) T { return 0 }, false, g.OutC*18,
				func(team *Team, z []T, j Joined[T]) { input.RunJoined(team, dy[0], w[0], z, j) })
		}
	}
}

// checkJoined runs with a team and, in place, without.
func checkJoined[T Float](t *testing.T, team *Team, what string, j Joined[T], sums [2][]float64, bias func(int) T, rectify bool, terms int, run func(*Team, []T, Joined[T])) {
	t.Helper()
	z := newGuarded[T](len(sums[0]))
	run(team, z.s, j)
	for i, got := range z.s {
		want := sums[0][i] + float64(bias(i))
		if j.X != nil {
			want += sums[1][i]
		}
		if j.Addend != nil {
			want += float64(j.Addend[i])
		}
		if rectify {
			want = max(want, 0)
		}
		if j.Mask != nil && !(j.Mask[i] > 0) {
			want = 0
		}
		if !nearSum(got, want, 36*terms) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got, want)
		}
	}
	z.check(t, what)
	again := make([]T, len(z.s))
	if j.Addend != nil {
		copy(again, j.Addend)
		j.Addend = again
	}
	run(nil, again, j)
	sameBits(t, what+", in place", again, z.s)
}

func TestConvJoinedAllocatesNothing(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for _, g := range steadyGeoms {
		g = g.withDefaults()
		if ConvJoins[float32](g, WinogradWhereFits) && ConvGradInputJoins[float32](g, WinogradWhereFits) {
			testConvJoinedAllocatesNothing(t, team, g)
		}
	}
}

func testConvJoinedAllocatesNothing(t *testing.T, team *Team, g ConvGeom) {
	x, w, y := make([]float32, g.xSize()), make([]float32, g.wSize()), make([]float32, g.ySize())
	opt := ConvOptions{Winograd: WinogradWhereFits}
	conv, input := NewConv[float32](g, opt), NewConvGradInput[float32](g, opt)
	run := func() {
		conv.RunJoined(team, x, w, nil, y, Joined[float32]{X: x, W: w, Addend: y, Mask: y})
		input.RunJoined(team, y, w, x, Joined[float32]{X: y, W: w, Addend: x, Mask: x})
	}
	run()
	if allocs := steadyAllocs(5, run); allocs != 0 {
		t.Errorf("%+v: allocate %v times", g, allocs)
	}
}
