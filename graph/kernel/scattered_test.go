package kernel

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// TestScatteredLoops compares every loop with a plain sum.
func TestScatteredLoops(t *testing.T) {
	for _, tl := range tilings[float32]() {
		t.Run("f32_"+tl.name, func(t *testing.T) { testScatteredLoops(t, tl.scattered) })
	}
	t.Run("f64_go", func(t *testing.T) { testScatteredLoops(t, goTiling[float64]().scattered) })
}

func testScatteredLoops[T Float](t *testing.T, l *scatteredLoops[T]) {
	for n := range 40 {
		testCollect(t, l, n)
	}
	for rows := 1; rows <= scatteredRows; rows++ {
		for _, n := range []int{0, 1, 5} {
			for _, planes := range []int{1, 3} {
				testScatteredProducts(t, l, rows, n, planes)
			}
		}
	}
}

func testCollect[T Float](t *testing.T, l *scatteredLoops[T], n int) {
	plane, values := newGuarded[T](n), newGuarded[T](n)
	places, at := make([]int32, n), make([]int32, n)
	var wantAt []int32
	for i := range n {
		places[i] = int32(3 * i)
		plane.s[i] = 0
		if i*i%7 < 3 {
			plane.s[i] = T(i) - 4
		}
		if i == 9 {
			plane.s[i] = T(math.NaN())
		}
		if plane.s[i] != 0 {
			wantAt = append(wantAt, places[i])
		}
	}
	if got := l.collect(plane.s, places, at, values.s); got != len(wantAt) {
		t.Fatalf("%d elements: listed %d that are not zero, want %d", n, got, len(wantAt))
	}
	for i, place := range wantAt {
		if v := plane.s[place/3]; at[i] != place || values.s[i] != v && v == v {
			t.Fatalf("%d elements: entry %d is %v at %d, want %v at %d", n, i, values.s[i], at[i], v, place)
		}
	}
	values.check(t, "values")
}

func testScatteredProducts[T Float](t *testing.T, l *scatteredLoops[T], rows, n, planes int) {
	name := fmt.Sprintf("%d rows, %d elements, %d planes", rows, n, planes)
	const row, plane = 11, 90
	at := make([]int32, n)
	for i := range at {
		at[i] = int32(4 * i)
	}
	x := newGuarded[T]((planes-1)*plane + (rows-1)*row + 4*max(n-1, 0) + scatteredLanes)
	values, sums := newGuarded[T](n), newGuarded[T](planes*rows*scatteredLanes)
	fill(x.s, 1)
	fill(values.s, 2)
	fill(sums.s, 3)
	wantX, wantSums := make([]float64, len(x.s)), make([]float64, len(sums.s))
	for i, v := range x.s {
		wantX[i] = float64(v)
	}
	for i, v := range sums.s {
		wantSums[i] = float64(v)
	}
	for k := range sums.s {
		p, r, j := k/scatteredLanes/rows, k/scatteredLanes%rows, k%scatteredLanes
		for i, v := range values.s {
			from := int(at[i]) + p*plane + r*row + j
			wantSums[k] += float64(v) * float64(x.s[from])
			wantX[from] += float64(v) * float64(sums.s[k])
		}
	}
	w := append([]T(nil), sums.s...)
	l.dot(rows, at, values.s, planes, x.s, plane, row, sums.s)
	l.spread(rows, at, values.s, planes, w, x.s, plane, row)
	for i, got := range sums.s {
		if !nearSum(got, wantSums[i], n+1) {
			t.Fatalf("%s: sum %d is %v, want %v", name, i, got, wantSums[i])
		}
	}
	for i, got := range x.s {
		if !nearSum(got, wantX[i], n+1) {
			t.Fatalf("%s: element %d is %v, want %v", name, i, got, wantX[i])
		}
	}
	sums.check(t, name+" sums")
	x.check(t, name+" x")
}

// scatter zeroes five sixths of the elements.
func scatter[T Float](dy []T) []T {
	for i := range dy {
		if i*i%13 > 1 {
			dy[i] = 0
		}
	}
	return dy
}

// TestScatteredGradients compares the gradients by a dy that is zero at most
// places with plain sums.
func TestScatteredGradients(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	cases := 0
	for _, g := range convCases() {
		g = g.withDefaults()
		if newScattered(goTiling[float32](), &g) == nil {
			continue
		}
		cases++
		t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
			for _, tl := range tilings[float32]() {
				testScatteredGradients(t, team, tl, g)
			}
			testScatteredGradients(t, team, goTiling[float64](), g)
		})
	}
	if cases < 5 {
		t.Errorf("%d cases fit, want 5 or more", cases)
	}
}

func testScatteredGradients[T Float](t *testing.T, team *Team, tl *tiling[T], g ConvGeom) {
	t.Helper()
	x, w, dy := fill(make([]T, g.xSize()), 1), fill(make([]T, g.wSize()), 2), scatter(fill(make([]T, g.ySize()), 3))
	wantDX, wantDW, wantSquares := make([]float64, g.xSize()), make([]float64, g.wSize()), make([]float64, g.wSize())
	single := make([][]float64, g.N)
	for n := range single {
		single[n] = make([]float64, g.wSize())
	}
	eachProduct(g, func(yi, wi, xi int) {
		wantDX[xi] += float64(w[wi]) * float64(dy[yi])
		single[yi/(g.OutC*g.OH*g.OW)][wi] += float64(x[xi]) * float64(dy[yi])
	})
	largest := 1.0
	for _, one := range single {
		for i, v := range one {
			wantDW[i] += v
			wantSquares[i] += v * v
			largest = max(largest, v*v)
		}
	}
	dx, dw, squares := newGuarded[T](g.xSize()), newGuarded[T](g.wSize()), newGuarded[T](g.wSize())
	if !newScatteredGradInput(tl, &g).run(team, dy, w, dx.s) || !newScatteredGradWeight(tl, &g).run(team, x, dy, dw.s) ||
		!newScatteredSquares(tl, &g).run(team, x, dy, squares.s) {
		t.Fatalf("%s: the elements that are not zero are not taken for few", tl.name)
	}
	pooled := poolOf(g, dy)
	pdx, pdw, psquares := newGuarded[T](g.xSize()), newGuarded[T](g.wSize()), newGuarded[T](g.wSize())
	if err := errors.Join(
		PooledGradInput[T]{newScatteredGradInput(tl, &g)}.Run(team, pooled, w, pdx.s),
		PooledGradWeight[T]{newScatteredGradWeight(tl, &g)}.Run(team, x, pooled, pdw.s),
		PooledSampleSquares[T]{newScatteredSquares(tl, &g)}.Run(team, x, pooled, psquares.s),
	); err != nil {
		t.Fatalf("%s: %v", tl.name, err)
	}
	for _, c := range []struct {
		what  string
		got   guarded[T]
		want  []float64
		terms int
	}{
		{"pooled dx", pdx, wantDX, g.OutC * g.KH * g.KW},
		{"pooled dw", pdw, wantDW, g.N * g.OH * g.OW},
		{"pooled squares", psquares, wantSquares, 2 * g.N * g.OH * g.OW * int(largest)},
		{"dx", dx, wantDX, g.OutC * g.KH * g.KW},
		{"dw", dw, wantDW, g.N * g.OH * g.OW},
		{"squares", squares, wantSquares, 2 * g.N * g.OH * g.OW * int(largest)},
	} {
		for i, v := range c.got.s {
			if !nearSum(v, c.want[i], c.terms) {
				t.Fatalf("%s: %s: element %d is %v, want %v", tl.name, c.what, i, v, c.want[i])
			}
		}
		c.got.check(t, tl.name+" "+c.what)
	}
}

// poolOf gives dy pooled: what is not zero, backwards and in two halves.
func poolOf[T Float](g ConvGeom, dy []T) Pooled[T] {
	size, most := g.OH*g.OW, 0
	lists := make([][]int64, g.N*g.OutC)
	for i := range dy {
		if at := len(dy) - 1 - i; dy[at] != 0 {
			lists[at/size] = append(lists[at/size], int64(at), int64(at))
			most = max(most, len(lists[at/size]))
		}
	}
	p := Pooled[T]{make([]T, len(lists)*most), make([]int64, len(lists)*most)}
	for plane, list := range lists {
		for i := range most {
			to := plane*most + i
			p.Places[to] = int64(plane * size) // of zeros
			if i < len(list) {
				p.Elements[to], p.Places[to] = dy[list[i]]/2, list[i]
			}
		}
	}
	return p
}

// TestConvAt compares with a convolution at all places.
func TestConvAt(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for _, g := range convCases() {
		g = g.withDefaults()
		if newScattered(goTiling[float32](), &g) == nil {
			continue
		}
		t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) {
			for _, tl := range tilings[float32]() {
				testConvAt(t, team, tl, g)
			}
			testConvAt(t, team, goTiling[float64](), g)
		})
	}
}

func testConvAt[T Float](t *testing.T, team *Team, tl *tiling[T], g ConvGeom) {
	t.Helper()
	var terms []ConvTerm[T]
	want, bias := make([]float64, g.ySize()), fill(make([]T, g.OutC), 9)
	for k := range 2 {
		term := ConvTerm[T]{fill(make([]T, g.xSize()), uint64(1+k)), fill(make([]T, g.wSize()), uint64(3+k))}
		eachProduct(g, func(yi, wi, xi int) { want[yi] += float64(term.W[wi]) * float64(term.X[xi]) })
		terms = append(terms, term)
	}
	const each = 21
	size := g.OH * g.OW
	places, open := make([]int64, g.N*g.OutC*each), fill(make([]T, g.N*g.OutC*each), 7)
	for i := range places {
		places[i] = int64(i/each*size + i*i%size)
	}
	open[0] = T(math.NaN())
	c := newConvAt(tl, g, len(terms))
	for _, gate := range [][]T{nil, open} {
		y := newGuarded[T](len(places))
		if err := c.Run(team, terms, bias, places, gate, y.s); err != nil {
			t.Fatal(err)
		}
		for i, got := range y.s {
			w := want[places[i]] + float64(bias[i/each%g.OutC])
			if gate != nil && !(gate[i] > 0) {
				w = 0
			}
			if !nearSum(got, w, 4*g.C*g.KH*g.KW) {
				t.Fatalf("%s, gate %v: element %d is %v, want %v", tl.name, gate != nil, i, got, w)
			}
		}
		y.check(t, tl.name)
		if allocs := steadyAllocs(5, func() { _ = c.Run(team, terms, bias, places, gate, y.s) }); allocs != 0 {
			t.Errorf("%v allocations", allocs)
		}
	}
	places[len(places)-1] = -1
	if err := c.Run(team, terms, bias, places, nil, make([]T, len(places))); err == nil {
		t.Error("a place outside is taken")
	}
}

// TestPooledByLine: the rule for places gives what the table has, at the bounds too.
func TestPooledByLine(t *testing.T) {
	for _, g := range append(convCases(), ConvGeom{N: 1, C: 1, H: 1026, W: 1025, OutC: 1, KH: 5, KW: 5}, ConvGeom{N: 1, C: 1, H: 5, W: 200000, OutC: 1, KH: 5, KW: 5}) {
		g = g.withDefaults()
		s := newScattered(tilings[float32]()[0], &g)
		if s == nil || !s.byLine {
			continue
		}
		for i, want := range s.places {
			down := float32(math.Floor(float64((float32(i) + 0.5) * s.line[0])))
			if got := int32(float32(i)*s.line[1] + down*s.line[2]); got != want {
				t.Fatalf("%+v: place %d is %d, want %d", g, i, got, want)
			}
		}
	}
}

// TestPooledStrays: places outside of their plane are an error, and nothing is
// read or written there.
func TestPooledStrays(t *testing.T) {
	g := (ConvGeom{N: 2, C: 1, H: 8, W: 8, OutC: 2, KH: 5, KW: 5}).withDefaults()
	for _, stray := range []int64{-1, 16, 1 << 40, math.MinInt64} {
		dy := Pooled[float32]{[]float32{1, 2, 3, 4}, []int64{stray, 17, 40, 63}}
		err := NewPooledGradWeight[float32](g).Run(nil, make([]float32, g.xSize()), dy, make([]float32, g.wSize()))
		if err == nil || !strings.Contains(err.Error(), "1 of the places") {
			t.Errorf("place %d: %v", stray, err)
		}
	}
}

// TestScatteredIsChosen: only a dy that is zero at most places goes that way.
func TestScatteredIsChosen(t *testing.T) {
	g := (ConvGeom{N: 6, C: 3, H: 12, W: 12, OutC: 4, KH: 5, KW: 5}).withDefaults()
	s := newScattered(tilings[float32]()[0], &g)
	dy := fill(make([]float32, g.ySize()), 3)
	if s.few(nil, dy) {
		t.Error("all elements are taken for few")
	}
	if !s.few(nil, scatter(dy)) {
		t.Error("a sixth of the elements is not taken for few")
	}
}

func TestScatteredSameBitsAndNoAllocation(t *testing.T) {
	g := (ConvGeom{N: 21, C: 3, H: 17, W: 18, OutC: 10, KH: 5, KW: 5, PadT: 2, PadL: 1, PadB: 2, PadR: 1}).withDefaults()
	x, w, dy := fill(make([]float32, g.xSize()), 1), fill(make([]float32, g.wSize()), 2), scatter(fill(make([]float32, g.ySize()), 3))
	input, weight, squares := NewConvGradInput[float32](g, ConvOptions{}), NewConvGradWeight[float32](g, ConvOptions{}), NewConvSampleSquares[float32](g, ConvOptions{})
	pooled, pooledInput, pooledWeight := poolOf(g, dy), NewPooledGradInput[float32](g), NewPooledGradWeight[float32](g)
	results := func() [][]float32 {
		return [][]float32{
			make([]float32, g.xSize()), make([]float32, g.wSize()), make([]float32, g.wSize()),
			make([]float32, g.xSize()), make([]float32, g.wSize()),
		}
	}
	run := func(team *Team, to [][]float32) {
		input.Run(team, dy, w, to[0])
		weight.Run(team, x, dy, to[1])
		squares.Run(team, x, dy, to[2])
		if err := errors.Join(pooledInput.Run(team, pooled, w, to[3]), pooledWeight.Run(team, x, pooled, to[4])); err != nil {
			t.Error(err)
		}
	}
	want := results()
	run(nil, want)
	for threads := 1; threads <= 3; threads++ {
		team, got := NewTeam(threads), results()
		run(team, got)
		for i := range got {
			sameBits(t, fmt.Sprintf("%d threads, result %d", threads, i), got[i], want[i])
		}
		if allocs := steadyAllocs(5, func() { run(team, got) }); allocs != 0 {
			t.Errorf("%d threads: %v allocations", threads, allocs)
		}
		team.Close()
	}
}
