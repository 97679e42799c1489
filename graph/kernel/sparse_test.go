package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// sparsePattern keeps a share of a matrix, its elements in any order.
func sparsePattern(out, in int, share float64, shuffle bool) (rows, cols []int64) {
	r := rand.New(rand.NewPCG(1, 2))
	for o := range out {
		for i := range in {
			if r.Float64() < share {
				rows, cols = append(rows, int64(o)), append(cols, int64(i))
			}
		}
	}
	if shuffle {
		r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i]; cols[i], cols[j] = cols[j], cols[i] })
	}
	return rows, cols
}

func TestSparseMatMul(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for _, size := range [][3]int{{1, 1, 1}, {3, 5, 2}, {64, 40, 33}, {65, 17, 50}, {130, 20, 18}} {
		for _, share := range []float64{0, 0.1, 1} {
			for _, shuffle := range []bool{false, true} {
				t.Run(fmt.Sprint(size, share, shuffle), func(t *testing.T) {
					for _, l := range sparseAvailable[float32]() {
						testSparse(t, team, l, size, share, shuffle)
					}
					for _, l := range sparseAvailable[float64]() {
						testSparse(t, team, l, size, share, shuffle)
					}
				})
			}
		}
	}
}

func testSparse[T Float](t *testing.T, team *Team, l sparseLoops[T], size [3]int, share float64, shuffle bool) {
	t.Helper()
	n, in, out := size[0], size[1], size[2]
	rows, cols := sparsePattern(out, in, share, shuffle)
	x, dy, values := newGuarded[T](n*in), newGuarded[T](n*out), newGuarded[T](len(rows))
	y, grads := newGuarded[T](n*out), newGuarded[T](len(rows))
	fill(x.s, 1)
	fill(dy.s, 2)
	fill(values.s, 3)
	wantY, wantGrads := make([]float64, n*out), make([]float64, len(rows))
	for i := range rows {
		for k := range n {
			at, to := k*in+int(cols[i]), k*out+int(rows[i])
			wantY[to] += float64(x.s[at]) * float64(values.s[i])
			wantGrads[i] += float64(x.s[at]) * float64(dy.s[to])
		}
	}
	s := newSparseMatMul(l, n, in, out, rows, cols)
	s.Run(team, x.s, values.s, y.s)
	s.RunGrad(team, x.s, dy.s, grads.s)
	for i := range wantY {
		if !nearSum(y.s[i], wantY[i], in) {
			t.Fatalf("%s: y %d is %v, want %v", l.name, i, y.s[i], wantY[i])
		}
	}
	for i := range wantGrads {
		if !nearSum(grads.s[i], wantGrads[i], n) {
			t.Fatalf("%s: gradient %d is %v, want %v", l.name, i, grads.s[i], wantGrads[i])
		}
	}
	y.check(t, l.name+" y")
	grads.check(t, l.name+" gradients")
}

// BenchmarkSparseMatMul times the layers of LeNet-300-100 with a share of the
// weights kept, and what they are instead of.
func BenchmarkSparseMatMul(b *testing.B) {
	team := NewTeam(1)
	defer team.Close()
	for _, size := range [][3]int{{64, 784, 300}, {64, 300, 100}, {64, 100, 10}, {128, 784, 300}, {64, 4096, 512}} {
		n, in, out := size[0], size[1], size[2]
		x, y, dense := fill(make([]float32, n*in), 1), make([]float32, n*out), fill(make([]float32, in*out), 2)
		gemm, weight := NewGemm[float32](n, out, in, false, true, GemmOptions{}), NewGemm[float32](out, in, n, true, false, GemmOptions{})
		b.Run(fmt.Sprint(size, "/dense/forward"), func(b *testing.B) {
			for b.Loop() {
				gemm.Run(team, x, dense, y)
			}
		})
		b.Run(fmt.Sprint(size, "/dense/gradient"), func(b *testing.B) {
			for b.Loop() {
				weight.Run(team, y, x, dense)
			}
		})
		for _, share := range []float64{0.02, 0.05, 0.1, 0.2} {
			rows, cols := sparsePattern(out, in, share, false)
			values := fill(make([]float32, len(rows)), 3)
			s := NewSparseMatMul[float32](n, in, out, rows, cols)
			b.Run(fmt.Sprint(size, "/kept", share, "/forward"), func(b *testing.B) {
				for b.Loop() {
					s.Run(team, x, values, y)
				}
			})
			b.Run(fmt.Sprint(size, "/kept", share, "/gradient"), func(b *testing.B) {
				for b.Loop() {
					s.RunGrad(team, x, y, values)
				}
			})
		}
	}
}
