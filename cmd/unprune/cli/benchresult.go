package cli

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// benchResult is one measurement, with those of other programs beside it.
type benchResult struct {
	Model   string `json:"model"`
	What    string `json:"what"`
	Batch   int    `json:"batch"`
	Threads int    `json:"threads"`
	Kernels string `json:"kernels"`
	Repeat  int    `json:"repeat"`
	Samples int    `json:"samples,omitempty"` // that a Fisher figure is for
	timing
	resources
	Beside []rival `json:"beside"`

	// PyTorch is the fastest PyTorch median over ours, Runtime ONNX Runtime's:
	// above 1 we are faster. The other two compare the shortest blocks, which
	// suffer less from a busy machine; Noisy says that it was busy.
	PyTorch    *float64 `json:"speed_relative_to_pytorch,omitempty"`
	PyTorchMin *float64 `json:"speed_relative_to_pytorch_min,omitempty"`
	Runtime    *float64 `json:"speed_relative_to_onnxruntime,omitempty"`
	RuntimeMin *float64 `json:"speed_relative_to_onnxruntime_min,omitempty"`
	Noisy      bool     `json:"noisy"`

	// How many times faster a step is with units or weights pruned, and how
	// many gradients a Hessian-vector product costs.
	Units     *float64 `json:"speed_with_units_pruned,omitempty"`
	Weights   *float64 `json:"speed_with_weights_pruned,omitempty"`
	Gradients *float64 `json:"gradients_per_hvp,omitempty"`
}

// rival is another measurement, taken in turns with the first.
type rival struct {
	Name   string `json:"name"` // "pytorch 2.15.0"
	Layout string `json:"layout,omitempty"`
	timing
	resources
}

// timing sums up the blocks of one measurement.
type timing struct {
	Median float64 `json:"median_seconds"`
	IQR    float64 `json:"iqr_seconds"`
	Least  float64 `json:"min_seconds"`
}

// resources is what the work takes of the machine, where that is known.
type resources struct {
	GFLOPS float64 `json:"gflops,omitempty"` // of convolutions and matrix products
	Share  float64 `json:"share_of_peak,omitempty"`
	Bytes  int     `json:"bytes_moved,omitempty"`
	Memory int64   `json:"peak_resident_bytes,omitempty"`
}

type benchResults struct {
	Peak    float64       `json:"peak_gflops,omitempty"` // of all threads together
	Results []benchResult `json:"results"`
}

func newResources(c *contender, t timing, peak float64) resources {
	u := resources{Bytes: c.cost.traffic, Memory: c.memory}
	u.GFLOPS = 2 * float64(c.cost.products) / t.Median / 1e9
	if peak > 0 {
		u.Share = u.GFLOPS / peak
	}
	return u
}

func (b *bench) result(peak float64) *benchResult {
	own := b.contenders[0]
	r := &benchResult{
		Model: b.path, What: b.o.what, Batch: b.o.batch, Threads: b.a.threads, Kernels: kernels(), Repeat: b.o.repeat,
		timing: newTiming(own.times), Beside: []rival{},
	}
	if b.scale > 1 {
		r.Samples = b.scale
	}
	r.resources = newResources(own, r.timing, peak)
	for _, c := range b.contenders[1:] {
		t := newTiming(c.times)
		r.Beside = append(r.Beside, rival{c.name, c.layout, t, newResources(c, t, peak)})
	}
	r.PyTorch, r.PyTorchMin = r.against("pytorch ")
	r.Runtime, r.RuntimeMin = r.against("onnxruntime ")
	r.Units, r.Weights = b.faster(unitsName), b.faster(weightsName)
	if g := b.contender(gradientName); g != nil {
		x := r.Median / newTiming(g.times).Median
		r.Gradients = &x
	}
	if r.Noisy = r.noisy(); r.Noisy {
		b.a.log.Warn(fmt.Sprintf("%s: the figures spread by more than a quarter; the machine is busy with something else, measure again", b.path))
	}
	return r
}

// faster is how many times as fast as the first contender another is.
func (b *bench) faster(name string) *float64 {
	c := b.contender(name)
	if c == nil {
		return nil
	}
	x := newTiming(b.contenders[0].times).Median / newTiming(c.times).Median
	return &x
}

// against compares with the fastest rival whose name begins so, by medians and
// by the shortest blocks.
func (r *benchResult) against(name string) (median, least *float64) {
	fastest, shortest := math.Inf(1), math.Inf(1)
	for _, o := range r.Beside {
		if strings.HasPrefix(o.Name, name) {
			fastest, shortest = min(fastest, o.Median), min(shortest, o.Least)
		}
	}
	if math.IsInf(fastest, 1) {
		return nil, nil
	}
	fastest /= r.Median
	shortest /= r.Least
	return &fastest, &shortest
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
			row("unprune ("+r.Kernels+")", r.timing, join(r.resources.text(), r.speed("PyTorch", r.PyTorch, r.PyTorchMin), r.speed("ONNX Runtime", r.Runtime, r.RuntimeMin)))
			for _, o := range r.Beside {
				name := o.Name
				if o.Layout != "" {
					name += ", " + o.Layout
				}
				row(name, o.timing, join(o.resources.text(), r.compared(o.Name)))
			}
		}
	})
	if all.Peak > 0 {
		fmt.Fprintf(w, "Peak: %.0f GFLOP/s.\n", all.Peak)
	}
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}

// speed says how our speed compares with another program's.
func (r *benchResult) speed(whose string, median, least *float64) string {
	switch {
	case median == nil:
		return ""
	case r.Noisy:
		return fmt.Sprintf("too noisy to compare (%.2f times %s's speed by the shortest blocks)", *least, whose)
	}
	return fmt.Sprintf("%.2f times %s's speed", *median, whose)
}

// compared says how a contender of our own compares with the first.
func (r *benchResult) compared(name string) string {
	switch {
	case name == unitsName && r.Units != nil:
		return fmt.Sprintf("%.2f times as fast", *r.Units)
	case name == weightsName && r.Weights != nil:
		return fmt.Sprintf("%.2f times as fast", *r.Weights)
	case name == gradientName && r.Gradients != nil:
		return fmt.Sprintf("the product costs %.2f of it", *r.Gradients)
	}
	return ""
}

func (u resources) text() string {
	var parts []string
	if u.Share > 0 {
		parts = append(parts, fmt.Sprintf("%.0f %% of peak", 100*u.Share))
	}
	if u.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%.3g MB moved", float64(u.Bytes)/1e6))
	}
	if u.Memory > 0 {
		parts = append(parts, fmt.Sprintf("%.0f MB resident", float64(u.Memory)/1e6))
	}
	return strings.Join(parts, ", ")
}
