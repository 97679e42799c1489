package unlearn

import (
	"context"
	"math"

	"github.com/unprune/unprune/unprune"
)

// Fisher adds noise where the retained data leave the parameters free (Golatkar
// et al. 2020, in Unlearn-Sparse and SparseModels fisher.py); eval mode:
//
//	F_i = (1/n_r) Σ_{D_r} (∂ log p_y(x)/∂θ_i + 1e-8)²
//	θ_i += Scale·min(sqrt(Alpha/F_i), Cap)·z_i,  z ~ N(0, 1)
//
// The cross term of the square, 2e-8 times the mean gradient, changes a deviation
// that is not capped by less than 1e-8·Cap/sqrt(Alpha) of it, since F_i exceeds the
// square of the mean. Where that is below the rounding of float32, as by default,
// it is left out; else it costs another gradient of every sample.
//
// Defaults: alpha 1, cap 1e-3, scale 1: then nearly every entry is at the cap,
// that is plain noise. Unlearn-Sparse multiplies by ten where the last axis is
// the classes' (OutputScale).
type Fisher struct {
	Alpha       float64 // 0: 1
	Cap         float64 // of the standard deviation; 0: 1e-3
	Scale       float64 // 0: 1
	OutputScale float64 // factor for tensors whose last axis has one entry per class; 0: 1
	Noise       Noise   // nil: drawn from the stream "noise"
}

// fisherShift is what gradients are shifted by before they are squared.
const fisherShift = 1e-8

// Name is "fisher".
func (Fisher) Name() string { return "fisher" }

// Needs retained data, gradients of single samples and random numbers.
func (Fisher) Needs() unprune.Needs {
	return unprune.NeedsRetain | unprune.NeedsCurvature | unprune.NeedsRandom
}

// Unlearn adds the noise.
func (u Fisher) Unlearn(ctx context.Context, t *unprune.Task) error {
	draw, err := noise(t, u.Name(), u.Noise)
	if err != nil {
		return err
	}
	sd, err := u.deviation(ctx, t)
	if err != nil {
		return err
	}
	w := t.Engine.Weights()
	v := w.Vector()
	disturb(w, v, sd, draw)
	return settle(t, u.Name(), v)
}

// Diagonal is F, over the retained data.
func (u Fisher) Diagonal(ctx context.Context, t *unprune.Task) (unprune.Vector, error) {
	e, err := curvature(t, u.Name())
	if err != nil {
		return nil, err
	}
	f := make(unprune.Vector, t.Engine.Weights().Params())
	batches, w := unprune.Batches(t.Retain, 256), t.Engine.Weights()
	for i, index := range batches {
		squares, err := e.SampleSquares(ctx, unprune.Term{Data: t.Data, Index: index})
		if err != nil {
			return nil, err
		}
		f.Axpy(1, squares)
		if u.crossed() {
			g, err := e.Gradient(ctx, unprune.Term{Data: t.Data, Index: index, Weight: float64(len(index)), Eval: true})
			if err != nil {
				return nil, err
			}
			f.Axpy(-2*fisherShift, w.Flatten(g)) // of the loss, -log p
		}
		t.Report(u.Name(), i+1, len(batches))
	}
	for j := range f {
		f[j] = f[j]/float64(len(t.Retain)) + fisherShift*fisherShift
	}
	return f, nil
}

// crossed tells whether the cross term can be seen.
func (u Fisher) crossed() bool {
	const rounding = 0x1p-24
	return fisherShift*or(u.Cap, 1e-3) > rounding*math.Sqrt(or(u.Alpha, 1))
}

// deviation is the standard deviation of the noise.
func (u Fisher) deviation(ctx context.Context, t *unprune.Task) (unprune.Vector, error) {
	f, err := u.Diagonal(ctx, t)
	if err != nil {
		return nil, err
	}
	alpha, most, scale := or(u.Alpha, 1), or(u.Cap, 1e-3), or(u.Scale, 1)
	capped := 0
	for i, x := range f {
		sd := math.Sqrt(alpha / max(x, 0))
		if sd > most {
			sd = most
			capped++
		}
		f[i] = scale * sd
	}
	if capped > 99*len(f)/100 {
		t.Warn("fisher: %d of %d parameters get noise of the largest deviation, %g, so that the Fisher information plays no part; lower alpha (%g)",
			capped, len(f), most, alpha)
	}
	if u.OutputScale != 0 {
		for _, p := range t.Engine.Weights().Parts() {
			if s := p.Tensor.Shape; len(s) > 0 && s[len(s)-1] == t.Engine.Classes() {
				p.Of(f).Scale(u.OutputScale)
			}
		}
	}
	return f, nil
}

// Info describes Fisher noise.
func (u *Fisher) Info() Info {
	return Info{
		About:  "add noise where the retained data leave the parameters free",
		Good:   "one pass, no training; with the published alpha it is plain noise, so scan alpha",
		Cost:   "n_r training samples, one gradient each (two where alpha is below 3e-8)",
		Source: "Golatkar et al. 2020; SparseModels unlearn/fisher.py",
		Options: []Option{
			number("alpha", &u.Alpha, 1, "strength of the noise"),
			number("cap", &u.Cap, 1e-3, "largest standard deviation"),
			number("scale", &u.Scale, 1, "factor of the noise"),
			number("output-scale", &u.OutputScale, 0, "another factor for tensors whose last axis is the classes', 0: none (Unlearn-Sparse: 10)"),
		},
	}
}
