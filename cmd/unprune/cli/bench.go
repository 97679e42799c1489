package cli

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unprune/unprune/graph/kernel"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/unprune/data"
)

// benchOptions are the flags of "unprune bench".
type benchOptions struct {
	what    string
	batch   int
	repeat  int
	samples int
	units   float64
	weights float64
	python  string
}

// benchWork is what can be measured.
var benchWork = map[string]func(*bench, context.Context) error{
	"step": (*bench).addStep, "forward": (*bench).addForward, "fisher": (*bench).addFisher,
	"hvp": (*bench).addHVP, "load": (*bench).addLoad, "run": (*bench).addRun,
}

func benchCommand(a *app) *cobra.Command {
	var o benchOptions
	return a.command(spec{
		use: "bench [MODEL...]", group: groupLook, min: 0, max: -1,
		short: "Measure speed, PyTorch and ONNX Runtime beside it where they are at hand",
		long: `Bench measures one kind of work:

  step     a training step: forward, backward, SGD with momentum
  forward  a forward pass
  fisher   the sums of the squared gradients of --samples samples, one by one exact
  hvp      a product of the Hessian with one more vector at a point, the first one
           there, and a gradient beside them
  load     reading a model and preparing it for inference
  run      un-pruning an embedded network as a whole: class 0 is forgotten

Figures are medians and interquartile ranges of blocks of runs. If a Python with
torch is found (--python, the active virtual environment, or the path), PyTorch
does the same on the same graph, in the layouts NCHW and channels_last, with as
many threads, in turns with unprune; for forward passes and loading ONNX Runtime
takes part too. What is loaded is ready to run in both, and ONNX Runtime opens
the file itself. A sample's Fisher information is a loop over batches of one in
PyTorch.

With --prune-units or --prune-weights a step of the same network is measured too
with that share of the units of every layer, or of the weights, pruned by
magnitude and held at zero.

The share of the peak is that of the processor's multiply-adds on registers,
which is measured at the start. Convolutions count as plain sums of products,
and zeros like all else, so a share above 1 is possible where fewer are
computed. Bytes moved are those of all tensors that the steps of the program
read and write. Memory is the largest that a process had resident.`,
		example: `  unprune bench --what step --batch 64 lenet-5
  unprune bench --what step --prune-units 0.5 resnet18.onnx
  unprune bench --what forward --batch 1 --threads 1 resnet18.onnx --json`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&o.what, "what", "step", "what to measure: step, forward, fisher, hvp, load or run")
			f.IntVar(&o.batch, "batch", 0, "batch `size` (default: 64; of a load the file's, or 1)")
			f.IntVar(&o.repeat, "repeat", 15, "blocks to measure")
			f.IntVar(&o.samples, "samples", 2000, "samples of the Fisher information")
			f.Float64Var(&o.units, "prune-units", 0, "measure a step with this `share` of the units of every layer pruned, too")
			f.Float64Var(&o.weights, "prune-weights", 0, "measure a step with this `share` of the weights pruned, too")
			f.StringVar(&o.python, "python", "", "Python `interpreter` with torch and numpy (default: searched for; none: leave PyTorch out)")
		},
		run: func(ctx context.Context, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if len(args) == 0 {
				args = []string{"lenet-300-100", "lenet-5"}
			}
			return a.bench(ctx, args, o)
		},
	})
}

func (o *benchOptions) check() error {
	pruned := o.units != 0 || o.weights != 0
	switch {
	case benchWork[o.what] == nil:
		return usagef("--what %q: want step, forward, fisher, hvp, load or run", o.what)
	case o.batch < 0 || o.repeat < 1 || o.samples < 1:
		return usagef("--batch %d, --repeat %d, --samples %d: want positive numbers", o.batch, o.repeat, o.samples)
	case !(o.units >= 0 && o.units < 1 && o.weights >= 0 && o.weights < 1):
		return usagef("--prune-units %g, --prune-weights %g: want shares from 0 to below 1", o.units, o.weights)
	case pruned && o.what != "step":
		return usagef("--prune-units and --prune-weights go with --what step")
	}
	return nil
}

func (a *app) bench(ctx context.Context, models []string, o benchOptions) error {
	all := benchResults{Peak: kernel.PeakRate(a.team(a.threads)) / 1e9}
	for _, model := range models {
		r, err := a.benchModel(ctx, model, o, all.Peak)
		if err != nil {
			return err
		}
		all.Results = append(all.Results, *r)
	}
	return a.print(all, all.text)
}

func (a *app) benchModel(ctx context.Context, path string, o benchOptions, peak float64) (*benchResult, error) {
	im, err := a.readNetwork(path)
	if err != nil {
		return nil, err
	}
	o.batch = o.batchFor(im)
	b := &bench{a: a, o: o, path: path, im: im, scale: 1}
	if o.what != "load" {
		sample, err := sampleShape(im)
		if err != nil {
			return nil, fmt.Errorf("model %s: %w", path, err)
		}
		b.x = randomSamples(sample, o.batch)
	}
	defer b.close()
	resetPeakMemory()
	if err := benchWork[o.what](b, ctx); err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	if err := b.measure(ctx); err != nil {
		return nil, err
	}
	return b.result(peak), nil
}

// batchFor is the batch size that was asked for, or else one that suits the
// work: a model is loaded for the batch that its file fixes.
func (o *benchOptions) batchFor(im *pass.Model) int {
	switch in := im.Graph.Inputs; {
	case o.batch > 0:
		return o.batch
	case o.what != "load":
		return 64
	case len(in) > 0 && len(in[0].Shape) > 0 && in[0].Shape[0] > 0:
		return in[0].Shape[0]
	}
	return 1
}

// bench is the measurement of one model; the first contender is unprune.
type bench struct {
	a     *app
	o     benchOptions
	path  string
	im    *pass.Model
	x     *data.Dataset
	scale int // pieces of work that a figure is for

	contenders []*contender
	closers    []func()
}

// A contender can be timed: run does the work count times and returns the
// seconds that took.
type contender struct {
	name, layout string
	run          func(count int) (float64, error)
	least        int // pieces of work that are done together
	count        int // pieces per block

	cost   programCost
	memory int64     // peak resident bytes, 0 if not known
	times  []float64 // seconds per piece of work, one per block
}

func (b *bench) close() {
	for _, c := range b.closers {
		c()
	}
}

// add lines up a contender and warms it up.
func (b *bench) add(c *contender) error {
	c.least = max(1, c.least)
	b.contenders = append(b.contenders, c)
	if _, err := c.run(c.least); err != nil {
		return err
	}
	once, err := c.run(c.least)
	if err != nil {
		return err
	}
	blocks := math.Ceil(min(blockSeconds/max(once, 1e-9), 1e5))
	c.count = int(blocks) * c.least
	if blocks > 1 {
		_, err = c.run(c.count)
	}
	return err
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

const (
	blockSeconds = 0.15                  // aimed at for a block
	settle       = 20 * time.Millisecond // between blocks, so that spinning threads of another program go to sleep
)

// measure times the contenders in turns.
func (b *bench) measure(ctx context.Context) error {
	for block := range b.o.repeat {
		for _, c := range b.contenders {
			if err := ctx.Err(); err != nil {
				return err
			}
			time.Sleep(settle)
			s, err := c.run(c.count)
			if err != nil {
				return err
			}
			c.times = append(c.times, s*float64(b.scale)/float64(c.count))
		}
		b.a.bars.report("measuring "+b.path, block+1, b.o.repeat)
	}
	return nil
}

// contender finds one by its name.
func (b *bench) contender(name string) *contender {
	i := slices.IndexFunc(b.contenders, func(c *contender) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return b.contenders[i]
}
