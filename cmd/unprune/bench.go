package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/graph/exec"
	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/ort"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
)

// benchOptions are the flags of "unprune bench".
type benchOptions struct {
	what   string
	batch  int
	repeat int
	python string
}

// benchResult is one measurement, with those of other programs beside it.
type benchResult struct {
	Model   string `json:"model"`
	What    string `json:"what"`
	Batch   int    `json:"batch"`
	Threads int    `json:"threads"`
	Kernels string `json:"kernels"`
	Repeat  int    `json:"repeat"`
	timing
	Beside []rival `json:"beside"`

	// Relative is the fastest PyTorch median over ours: above 1 we are faster.
	// RelativeMin is the same of the shortest blocks, which suffer less from a
	// busy machine; Noisy says that it was busy.
	Relative    *float64 `json:"speed_relative_to_pytorch,omitempty"`
	RelativeMin *float64 `json:"speed_relative_to_pytorch_min,omitempty"`
	Noisy       bool     `json:"noisy"`
}

// rival is another program's measurement, taken in turns with ours.
type rival struct {
	Name   string `json:"name"` // "pytorch 2.15.0"
	Layout string `json:"layout,omitempty"`
	timing
}

// timing sums up the blocks of one measurement, per step.
type timing struct {
	Median float64 `json:"median_seconds"`
	IQR    float64 `json:"iqr_seconds"`
	Least  float64 `json:"min_seconds"`
}

type benchResults struct {
	Results []benchResult `json:"results"`
}

func benchCommand(a *app) *cobra.Command {
	var o benchOptions
	return a.command(spec{
		use: "bench [MODEL...]", group: groupLook, min: 0, max: -1,
		short: "Measure speed, PyTorch and ONNX Runtime beside it where they are at hand",
		long: `Bench measures a training step (forward, backward, SGD with momentum), a forward
pass, or loading a model. Figures are medians and interquartile ranges of blocks
of runs. If a Python with torch is found (--python, the active virtual
environment, or the path), PyTorch does the same on the same graph, in the
layouts NCHW and channels_last, with as many threads, in turns with unprune; for
forward passes ONNX Runtime takes part too.`,
		example: `  unprune bench --what step --batch 64 lenet-5
  unprune bench --what forward --batch 1 --threads 1 resnet18.onnx --json`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&o.what, "what", "step", "what to measure: step, forward or load")
			f.IntVar(&o.batch, "batch", 64, "batch size")
			f.IntVar(&o.repeat, "repeat", 15, "blocks to measure")
			f.StringVar(&o.python, "python", "", "Python `interpreter` with torch and numpy (default: searched for; none: leave PyTorch out)")
		},
		run: func(ctx context.Context, args []string) error {
			switch {
			case o.what != "step" && o.what != "forward" && o.what != "load":
				return usagef("--what %q: want step, forward or load", o.what)
			case o.batch < 1 || o.repeat < 1:
				return usagef("--batch %d, --repeat %d: want positive numbers", o.batch, o.repeat)
			}
			if len(args) == 0 {
				args = []string{"lenet-300-100", "lenet-5"}
			}
			return a.bench(ctx, args, o)
		},
	})
}

func (a *app) bench(ctx context.Context, models []string, o benchOptions) error {
	var all benchResults
	for _, model := range models {
		r, err := a.benchModel(ctx, model, o)
		if err != nil {
			return err
		}
		all.Results = append(all.Results, *r)
	}
	return a.print(all, all.text)
}

// A contender can be timed: run does the work count times and returns the
// seconds that took.
type contender struct {
	name, layout string
	run          func(count int) (float64, error)
	times        []float64 // seconds per piece of work, one per block
}

func (a *app) benchModel(ctx context.Context, path string, o benchOptions) (*benchResult, error) {
	im, err := a.readNetwork(path)
	if err != nil {
		return nil, err
	}
	sample, err := sampleShape(im)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	b := &bench{a: a, o: o, path: path, im: im, x: randomSamples(sample, o.batch)}
	defer b.close()
	if err := b.enter(ctx); err != nil {
		return nil, err
	}
	if err := b.measure(ctx); err != nil {
		return nil, err
	}
	return b.result(), nil
}

// bench is the measurement of one model; the first contender is unprune.
type bench struct {
	a    *app
	o    benchOptions
	path string
	im   *pass.Model
	x    *data.Dataset

	contenders []*contender
	closers    []func()
}

func (b *bench) close() {
	for _, c := range b.closers {
		c()
	}
}

func (b *bench) add(name, layout string, run func(int) (float64, error)) {
	b.contenders = append(b.contenders, &contender{name: name, layout: layout, run: run})
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

// enter lines up the contenders.
func (b *bench) enter(ctx context.Context) error {
	var err error
	switch b.o.what {
	case "step":
		err = b.addStep(ctx)
	case "forward":
		err = b.addForward(ctx)
	case "load":
		b.add("unprune", "", timed(func() error {
			m, err := readFile(b.path)
			if err == nil {
				_, err = pass.Import(m)
			}
			return err
		}))
		return nil
	}
	if err != nil {
		return fmt.Errorf("model %s: %w", b.path, err)
	}
	return b.addTorch(ctx)
}

// timed makes a contender's run of a piece of work.
func timed(work func() error) func(int) (float64, error) {
	return func(count int) (float64, error) {
		start := time.Now()
		for range count {
			if err := work(); err != nil {
				return 0, err
			}
		}
		return time.Since(start).Seconds(), nil
	}
}

// benchRate is small, so that random data does no harm however long it trains.
const benchRate = 1e-4

func (b *bench) addStep(ctx context.Context) error {
	e, err := b.a.newEngine(b.path, b.im)
	if err != nil {
		return err
	}
	if err := e.Optimize(ops.Optimizer{Kind: "sgd", Momentum: 0.9, WeightDecay: 5e-4}); err != nil {
		return err
	}
	term := unprune.Term{Data: b.x, Index: data.Complement(b.o.batch, nil), Weight: 1}
	b.add("unprune", "", timed(func() error {
		_, err := e.Step(ctx, benchRate, term)
		return err
	}))
	return nil
}

func (b *bench) addForward(ctx context.Context) error {
	g, err := pass.Specialise(b.im.Graph, pass.Target{Batch: b.o.batch})
	if err != nil {
		return err
	}
	p, err := exec.Compile(g, exec.Options{Team: b.a.team(b.a.threads)})
	if err != nil {
		return err
	}
	in := g.Inputs[0]
	if err := fill(p.Input(in.Name), b.x.X, in.Name); err != nil {
		return err
	}
	b.add("unprune", "", timed(func() error { return p.Run(ctx) }))
	return b.addRuntime(ctx, g.ToONNX(), in.Name)
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
	b.add("onnxruntime "+lib.Version, "", timed(func() error {
		_, err := s.Run(ctx, feeds)
		return err
	}))
	return nil
}

const (
	blockSeconds = 0.15                  // aimed at for a block
	settle       = 20 * time.Millisecond // between blocks, so that spinning threads of another program go to sleep
)

// measure times the contenders in turns.
func (b *bench) measure(ctx context.Context) error {
	counts := make([]int, len(b.contenders))
	for i, c := range b.contenders {
		if _, err := c.run(2); err != nil { // warm up
			return err
		}
		once, err := c.run(1)
		if err != nil {
			return err
		}
		counts[i] = int(math.Ceil(min(blockSeconds/max(once, 1e-9), 1e5)))
	}
	for block := range b.o.repeat {
		for i, c := range b.contenders {
			if err := ctx.Err(); err != nil {
				return err
			}
			time.Sleep(settle)
			s, err := c.run(counts[i])
			if err != nil {
				return err
			}
			c.times = append(c.times, s/float64(counts[i]))
		}
		b.a.bars.report("measuring "+b.path, block+1, b.o.repeat)
	}
	return nil
}

func (b *bench) result() *benchResult {
	r := &benchResult{
		Model: b.path, What: b.o.what, Batch: b.o.batch, Threads: b.a.threads, Kernels: kernels(), Repeat: b.o.repeat,
		timing: newTiming(b.contenders[0].times), Beside: []rival{},
	}
	fastest, shortest := math.Inf(1), math.Inf(1)
	for _, c := range b.contenders[1:] {
		other := rival{Name: c.name, Layout: c.layout, timing: newTiming(c.times)}
		r.Beside = append(r.Beside, other)
		if c.layout != "" { // PyTorch's
			fastest, shortest = min(fastest, other.Median), min(shortest, other.Least)
		}
	}
	if !math.IsInf(fastest, 1) {
		relative, least := fastest/r.Median, shortest/r.Least
		r.Relative, r.RelativeMin = &relative, &least
	}
	if r.Noisy = r.noisy(); r.Noisy {
		b.a.log.Warn(fmt.Sprintf("%s: the figures spread by more than a quarter; the machine is busy with something else, measure again", b.path))
	}
	return r
}

// noisy reports whether a measurement says more about the machine's other work
// than about the program.
func (r *benchResult) noisy() bool {
	return r.IQR > r.Median/4 || slices.ContainsFunc(r.Beside, func(o rival) bool { return o.IQR > o.Median/4 })
}

func newTiming(times []float64) timing {
	s := slices.Sorted(slices.Values(times))
	at := func(q float64) float64 {
		pos := q * float64(len(s)-1)
		i := int(pos)
		if i+1 >= len(s) {
			return s[i]
		}
		return s[i] + (pos-float64(i))*(s[i+1]-s[i])
	}
	return timing{Median: at(0.5), IQR: at(0.75) - at(0.25), Least: s[0]}
}

func (all benchResults) text(w io.Writer) {
	table(w, func(w io.Writer) {
		fmt.Fprintln(w, "model\twhat\tbatch\tthreads\tprogram\tmedian\tIQR\tmin\t")
		for _, r := range all.Results {
			row := func(name string, t timing, note string) {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%.3f ms\t%.3f ms\t%.3f ms\t%s\n", r.Model, r.What, r.Batch, r.Threads, name, 1e3*t.Median, 1e3*t.IQR, 1e3*t.Least, note)
			}
			note := ""
			if r.Relative != nil {
				note = fmt.Sprintf("%.2f times PyTorch's speed", *r.Relative)
				if r.Noisy {
					note = fmt.Sprintf("too noisy to compare (%.2f times PyTorch's speed by the shortest blocks)", *r.RelativeMin)
				}
			}
			row("unprune ("+r.Kernels+")", r.timing, note)
			for _, o := range r.Beside {
				name := o.Name
				if o.Layout != "" {
					name += ", " + o.Layout
				}
				row(name, o.timing, "")
			}
		}
	})
}
