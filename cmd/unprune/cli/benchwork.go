package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/unprune/unprune/graph"
	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/ort"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/models"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/train"
	"github.com/unprune/unprune/unprune/unlearn"
)

// The contenders that are unprune itself.
const (
	ownName      = "unprune"
	gradientName = "unprune, gradient"
	firstName    = "unprune, first product at a point"
	unitsName    = "unprune, units pruned"
	weightsName  = "unprune, weights pruned"
)

// programCost is what one run of a program costs at least.
type programCost struct {
	products int // multiply-adds
	traffic  int // bytes
}

// engine makes an engine for the model; cost is that of the program that was
// compiled last.
func (b *bench) engine(im *pass.Model, cost *programCost) (*train.Engine, error) {
	compile := b.a.compiler(b.a.threads)
	return train.New(im, train.Options{Seed: b.a.seed, Compile: func(g *graph.Graph, state map[string]*onnx.Tensor, into map[string]string) (train.Program, error) {
		p, err := compile(g, state, into)
		if own, ok := p.(*exec.Program); ok {
			*cost = programCost{ops.Products(g), own.Traffic()}
		}
		return p, err
	}})
}

// randomSamples is a batch of standard normal samples, all of class 0.
func randomSamples(sample []int, n int) *data.Dataset {
	r := rand.New(rand.NewPCG(1, 2))
	x := onnx.NewTensor(onnx.Float32, append([]int{n}, sample...)...)
	values := onnx.Of[float32](x)
	for i := range values {
		values[i] = float32(r.NormFloat64())
	}
	return &data.Dataset{X: x, Y: make([]int64, n), Classes: 1}
}

// term is the loss of the whole batch.
func (b *bench) term() unprune.Term {
	return unprune.Term{Data: b.x, Index: data.Complement(b.o.batch, nil), Weight: 1}
}

// benchRate is small, so that random data does no harm however long it trains.
const benchRate = 1e-4

func (b *bench) addStep(ctx context.Context) error {
	if err := b.addOwnStep(ctx, ownName, b.im, nil); err != nil {
		return err
	}
	if b.o.units > 0 {
		if err := b.addOwnStep(ctx, unitsName, b.im, b.pruneUnits); err != nil {
			return err
		}
	}
	if b.o.weights > 0 {
		if err := b.addOwnStep(ctx, weightsName, b.im, b.pruneWeights); err != nil {
			return err
		}
	}
	return b.addTorch(ctx)
}

// addOwnStep measures steps of a network, pruned if prune says so.
func (b *bench) addOwnStep(ctx context.Context, name string, im *pass.Model, prune func(*train.Engine) (*sparsity.Masks, error)) error {
	c := &contender{name: name}
	e, err := b.engine(im, &c.cost)
	if err != nil {
		return err
	}
	if prune != nil {
		masks, err := prune(e)
		if err != nil {
			return err
		}
		if err := e.SetMasks(masks); err != nil {
			return err
		}
	}
	if err := e.Optimize(ops.Optimizer{Kind: "sgd", Momentum: 0.9, WeightDecay: 5e-4}); err != nil {
		return err
	}
	term := b.term()
	c.run = timed(func() error {
		_, err := e.Step(ctx, benchRate, term)
		return err
	})
	return b.addOwn(c)
}

// addOwn lines up unprune's own work and notes the memory that it takes.
func (b *bench) addOwn(c *contender) error {
	err := b.add(c)
	if len(b.contenders) == 1 {
		c.memory = peakMemory()
	}
	return err
}

// pruneUnits zeroes the share of the units of every group that was asked for.
func (b *bench) pruneUnits(e *train.Engine) (*sparsity.Masks, error) {
	g, err := pass.Specialise(b.im.Graph, pass.Target{Batch: 1, Keep: b.im.Floats()})
	if err != nil {
		return nil, err
	}
	groups, err := sparsity.Groups(g, e.Layers())
	if err != nil {
		return nil, err
	}
	parameters := map[string]*onnx.Tensor{}
	for _, p := range b.im.Params {
		parameters[p.Name()] = p.Tensor()
	}
	pruner := sparsity.NewGroupL2(groups)
	scores, err := pruner.Score(sparsity.Input{Layers: e.Layers(), Parameters: parameters})
	if err != nil {
		return nil, err
	}
	masks, err := pruner.Prune(scores, nil, b.o.units)
	if err != nil {
		return nil, err
	}
	return masks, pruner.Settle(masks, e.Weights().Tensors, e.Weights().Stats)
}

// pruneWeights masks the share of the weights that was asked for, the smallest
// of each layer.
func (b *bench) pruneWeights(e *train.Engine) (*sparsity.Masks, error) {
	pruner := sparsity.Magnitude{}
	return sparsity.PlanOf(pruner).Run(pruner, sparsity.Input{Layers: e.Layers()}, nil, b.o.weights)
}

func (b *bench) addForward(ctx context.Context) error {
	g, err := pass.Specialise(b.im.Graph, pass.Target{Batch: b.o.batch})
	if err != nil {
		return err
	}
	in := g.Inputs[0]
	p, err := exec.Compile(g, exec.Options{Team: b.a.team(b.a.threads), Winograd: b.a.winograd(), State: tensors{in.Name: b.x.X}})
	if err != nil {
		return err
	}
	c := &contender{name: ownName, cost: programCost{ops.Products(g), p.Traffic()}, run: timed(func() error { return p.Run(ctx) })}
	if err := b.addOwn(c); err != nil {
		return err
	}
	if err := b.addRuntime(ctx, g.ToONNX(), in.Name); err != nil {
		return err
	}
	return b.addTorch(ctx)
}

// addRuntime lets ONNX Runtime take part, if there is one.
func (b *bench) addRuntime(ctx context.Context, m *onnx.Model, input string) error {
	lib, err := b.a.openRuntime()
	if err != nil {
		b.a.log.Info("ONNX Runtime does not take part: " + sentence(err))
		return nil
	}
	encoded, err := m.Encode()
	if err != nil {
		return err
	}
	s, err := ort.NewSession(encoded, ort.Options{Threads: b.a.threads})
	if err != nil {
		return err
	}
	b.closers = append(b.closers, func() { _ = s.Close() })
	feeds := tensors{input: b.x.X}
	return b.add(&contender{name: runtimeName(lib.Version), run: timed(func() error {
		_, err := s.Run(ctx, feeds)
		return err
	})})
}

func runtimeName(version string) string { return "onnxruntime " + version }

// fisherLeast is how many samples are squared at once at least.
const fisherLeast = 128

func (b *bench) addFisher(ctx context.Context) error {
	c := &contender{name: ownName, least: fisherLeast}
	e, err := b.engine(b.im, &c.cost)
	if err != nil {
		return err
	}
	b.scale = b.o.samples
	b.x = randomSamples(b.x.SampleShape(), fisherLeast)
	var index []int
	c.run = func(count int) (float64, error) {
		index = index[:0]
		for i := range count {
			index = append(index, i%fisherLeast)
		}
		return timed(func() error {
			_, err := e.SampleSquares(ctx, unprune.Term{Data: b.x, Index: index})
			return err
		})(1)
	}
	if err := b.addOwn(c); err != nil {
		return err
	}
	c.cost = programCost{} // of one batch of those that make up a run
	return b.addTorch(ctx)
}

func (b *bench) addHVP(ctx context.Context) error {
	own, first, gradient := &contender{name: ownName}, &contender{name: firstName}, &contender{name: gradientName}
	var cost programCost
	e, err := b.engine(b.im, &cost)
	if err != nil {
		return err
	}
	term := b.term()
	term.Eval = true
	v := make(unprune.Vector, e.Weights().Params())
	r := data.Stream(b.a.seed, "bench", "direction")
	for i := range v {
		v[i] = r.NormFloat64()
	}
	hessian, err := e.Hessian(ctx, term)
	if err != nil {
		return err
	}
	own.run = timed(func() error {
		_, err := hessian(ctx, v)
		return err
	})
	first.run = timed(func() error {
		hessian, err := e.Hessian(ctx, term)
		if err == nil {
			_, err = hessian(ctx, v)
		}
		return err
	})
	gradient.run = timed(func() error {
		_, err := e.Gradient(ctx, term)
		return err
	})
	for _, c := range []*contender{own, first, gradient} {
		if err := b.addOwn(c); err != nil {
			return err
		}
		c.cost = cost
	}
	first.cost = programCost{} // of two programs
	return b.addTorch(ctx)
}

func (b *bench) addLoad(context.Context) error {
	b.im = nil // what a load takes is measured without it and without earlier loads
	resetPeakMemory()
	if err := b.load(); err != nil {
		return err
	}
	memory := peakMemory()
	own := &contender{name: ownName, run: timed(b.load)}
	if err := b.addOwn(own); err != nil {
		return err
	}
	own.memory = memory
	lib, err := b.a.openRuntime()
	if err != nil {
		b.a.log.Info("ONNX Runtime does not take part: " + sentence(err))
		return nil
	}
	if _, err := os.Stat(b.path); err != nil {
		return nil // an embedded network
	}
	return b.add(&contender{name: runtimeName(lib.Version), run: timed(func() error {
		return ort.LoadFile(b.path, ort.Options{Threads: b.a.threads})
	})})
}

// load makes a program of the file.
func (b *bench) load() error {
	m, err := readFile(b.path)
	if err != nil {
		return err
	}
	im, err := b.a.imports.Import(m)
	if err != nil {
		return err
	}
	g, err := pass.Specialise(im.Graph, pass.Target{Batch: b.o.batch})
	if err != nil {
		return err
	}
	_, err = exec.Compile(g, exec.Options{Team: b.a.team(b.a.threads), Winograd: b.a.winograd(), Own: true})
	return err
}

// addRun measures the un-pruning of an embedded network, data ready.
func (b *bench) addRun(ctx context.Context) error {
	nets := map[string]func() models.Net{"lenet-300-100": models.LeNet300, "lenet-5": models.LeNet5}
	net := nets[b.path]
	if net == nil {
		return fmt.Errorf("a whole run is measured on lenet-300-100 or lenet-5, for which the program has data")
	}
	r, err := b.a.demoRequest(ctx, net(), demoOptions{forget: "class:0"})
	if err != nil {
		return err
	}
	return b.addOwn(&contender{name: ownName, run: timed(func() error {
		_, err := r.problem.Rescore(ctx, unprune.Blend{Finish: unlearn.FineTune{}})
		return err
	})})
}

// peakMemory is the largest memory that the process had resident since it was
// reset, in bytes; 0 where the system does not tell.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}

// resetPeakMemory lets peakMemory count from now on, where the system can.
func resetPeakMemory() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // not everywhere
}
