package unlearn_test

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/onnx"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/unlearn"
)

// runners runs each algorithm of the reference cases as its case says.
var runners = map[string]func(t *testing.T, b *bench) error{
	"ft": func(t *testing.T, b *bench) error { return b.prescribe(t).run(t, unlearn.FineTune{}) },
	"ft_fixed_mask": func(t *testing.T, b *bench) error {
		if err := b.engine.SetMasks(b.masks(t, "extra.npz", "mask/")); err != nil {
			return err
		}
		return b.prescribe(t).run(t, unlearn.FineTune{})
	},
	"ft_salun_mask": func(t *testing.T, b *bench) error {
		s := unlearn.Saliency{Ratio: b.salunRatio(t), Batch: b.Hyper.ForgetBatch, Freeze: true}
		var err error
		if b.moving, err = s.Mask(t.Context(), b.task); err != nil {
			return err
		}
		return b.prescribe(t).run(t, unlearn.FineTune{Saliency: &s})
	},
	"train_frozen_negative": func(t *testing.T, b *bench) error {
		return b.prescribe(t).run(t, unlearn.FineTune{FreezeNegative: true})
	},
	"ga":          func(t *testing.T, b *bench) error { return b.prescribe(t).run(t, unlearn.GradientAscent{}) },
	"ga_momentum": func(t *testing.T, b *bench) error { return b.prescribe(t).run(t, unlearn.GradientAscent{}) },
	"ga_l1": func(t *testing.T, b *bench) error {
		return b.prescribe(t).run(t, unlearn.GradientAscent{L1: b.Hyper.Alpha})
	},
	"ga_clip": func(t *testing.T, b *bench) error {
		return b.prescribe(t).run(t, unlearn.GradientAscent{Eval: true, Clip: b.Hyper.MaxNorm})
	},
	"neggrad_plus": func(t *testing.T, b *bench) error {
		return b.prescribe(t).run(t, unlearn.NegGradPlus{Alpha: given(b.Hyper.Alpha), ForgetBatch: b.Hyper.ForgetBatch})
	},
	"rl": func(t *testing.T, b *bench) error {
		return b.prescribe(t).run(t, unlearn.RandomLabel{ForgetBatch: b.Hyper.ForgetBatch, Labels: b.recordedLabels(t)})
	},
	"salun": func(t *testing.T, b *bench) error {
		rl := unlearn.RandomLabel{ForgetBatch: b.Hyper.ForgetBatch, Labels: b.recordedLabels(t)}
		b.moving = b.checkMask(t, func(ctx context.Context) (unprune.Vector, error) {
			return unlearn.Saliency{Ratio: b.Hyper.Saliency, Batch: b.Hyper.ForgetBatch}.Mask(ctx, b.task)
		})
		return b.prescribe(t).run(t, unlearn.SalUn{RandomLabel: rl, Ratio: b.Hyper.Saliency})
	},
	"salun_masks": saliencyCase,
	"salun_joint": func(t *testing.T, b *bench) error {
		labels := onnx.Of[int64](b.read(t, "extra.npz")["random_labels"])
		// The case does not tell the batch of the saliency; any that divides the
		// forget set gives the same.
		rl := unlearn.RandomLabel{Variant: "c", ForgetBatch: len(b.task.Forget), Labels: func(int, []int) []int64 { return labels }}
		b.checkMask(t, func(ctx context.Context) (unprune.Vector, error) {
			return unlearn.Saliency{Ratio: b.Hyper.Threshold, Batch: len(b.task.Forget)}.Mask(ctx, b.task)
		})
		return b.anneal().prescribe(t).run(t, unlearn.SalUn{RandomLabel: rl, Ratio: b.Hyper.Threshold})
	},
	"l1_sparse": func(t *testing.T, b *bench) error {
		return b.prescribe(t).run(t, unlearn.L1Sparse{Alpha: given(b.Hyper.Alpha), Free: b.Hyper.NoL1Epochs})
	},
	"fisher": func(t *testing.T, b *bench) error {
		u := unlearn.Fisher{Alpha: b.Hyper.Alpha, Scale: b.Hyper.Scale, Cap: b.Hyper.ClampMax, Noise: b.recordedNoise(t)}
		b.checkVector(t, "fisher_", func(ctx context.Context) (unprune.Vector, error) { return u.Diagonal(ctx, b.task) })
		return b.run(t, u)
	},
	"fisher_new":         fisherNewCase,
	"fisher_new_general": fisherNewCase,
	"fisher_new_class":   fisherNewCase,
	"woodfisher":         influenceCase,
	"woodfisher_small_n": influenceCase,
	"woodfisher_batched": influenceCase,
	"cu": func(t *testing.T, b *bench) error {
		h := b.Hyper
		draws := b.read(t, "extra.npz")["sample_indices"]
		return b.run(t, unlearn.Certified{
			Reference: true, Decay: given(h.WeightDecay), Gamma: given(h.Gamma), Repeats: h.S1, Steps: h.S2,
			Scale: h.Scale, Std: h.Std, Noise: b.recordedNoise(t),
			Sample: func(repeat, step int) []int {
				size := draws.Shape[2]
				at := (repeat*draws.Shape[1] + step) * size
				var out []int
				for _, i := range onnx.Of[int64](draws)[at : at+size] {
					out = append(out, int(i))
				}
				return out
			},
		})
	},
	"scrub":                func(t *testing.T, b *bench) error { return b.anneal().scrub(t) },
	"scrub_smooth":         func(t *testing.T, b *bench) error { return b.anneal().scrub(t) },
	"scrub_adamw_min_only": func(t *testing.T, b *bench) error { return b.anneal().scrub(t) },
	"scrub_original": func(t *testing.T, b *bench) error {
		h := b.Hyper
		b.task.Schedule = func(epoch, _ int) float64 {
			rate := h.SGDARate
			for _, e := range h.LRDecayEpochs {
				if e < epoch+1 {
					rate *= h.LRDecayRate
				}
			}
			return rate
		}
		return b.scrub(t)
	},
	"sfron":     sfronCase,
	"sfron_ema": sfronCase,
	"ssd": func(t *testing.T, b *bench) error {
		h := b.Hyper
		return b.run(t, unlearn.SSD{
			Alpha: h.Selection, Lambda: h.Dampening, Exponent: h.Exponent, Bound: h.LowerBound,
			Batch: h.FullBatch, ForgetBatch: h.ForgetBatch,
		})
	},
	"bad_teacher":      func(t *testing.T, b *bench) error { return b.anneal().badTeacher(t) },
	"bad_teacher_adam": func(t *testing.T, b *bench) error { return b.badTeacher(t) },

	"unprune_ft":            unpruneCase,
	"unprune_ga":            unpruneCase,
	"unprune_ft_cumulative": unpruneCase,
}

// saliencyCase compares masks of several ratios with the recorded ones, except
// where a score equals the threshold: the reference sorts ties in any order.
func saliencyCase(t *testing.T, b *bench) error {
	masks, scores := b.read(t, "masks.npz"), b.read(t, "extra.npz")
	for _, ratio := range b.Hyper.Ratios {
		got, err := unlearn.Saliency{Ratio: ratio, Batch: b.Hyper.ForgetBatch}.Mask(t.Context(), b.task)
		if err != nil {
			return err
		}
		key := strconv.FormatFloat(ratio, 'f', -1, 64)
		if ratio == math.Trunc(ratio) {
			key += ".0"
		}
		threshold := math.Inf(1)
		score := make(unprune.Vector, len(got))
		for _, p := range b.engine.Weights().Parts() {
			for i, m := range p.Of(got) {
				p.Of(score)[i] = number(scores["abs_grad/"+p.Name], i)
				if m == 1 {
					threshold = min(threshold, p.Of(score)[i])
				}
			}
		}
		for _, p := range b.engine.Weights().Parts() {
			want, err := sparsity.FromPacked(onnx.Of[uint8](masks["ratio"+key+"/"+p.Name]), p.Tensor.Shape...)
			if err != nil {
				return err
			}
			for i, m := range p.Of(got) {
				tie := math.Abs(p.Of(score)[i]-threshold) <= 1e-6*threshold
				if want.Get(i) != (m == 1) && !tie {
					t.Errorf("ratio %s: %s[%d]: the reference has %v", key, p.Name, i, want.Get(i))
				}
			}
		}
	}
	return nil
}

// given is an option that a case sets: its zero is meant.
func given[T int | float64](x T) T {
	if x == 0 {
		return -1
	}
	return x
}

func fisherNewCase(t *testing.T, b *bench) error {
	h := b.Hyper
	u := unlearn.FisherNew{
		Alpha: h.Alpha, Cap: h.VarClampMax, CapLast: h.VarClampLast, Batch: h.InnerBatch, Noise: b.recordedNoise(t),
		Reference: b.Algorithm == "fisher_new",
	}
	if b.Algorithm == "fisher_new_class" {
		u.Classes = []int{h.ClassToForget}
	}
	b.checkVector(t, "grad2_", func(ctx context.Context) (unprune.Vector, error) { return u.Information(ctx, b.task) })
	return b.run(t, u)
}

func influenceCase(t *testing.T, b *bench) error {
	return b.run(t, unlearn.Influence{Reference: true, Alpha: b.Hyper.Alpha, N: b.Hyper.N, Batch: b.Hyper.RetainBatch})
}

func sfronCase(t *testing.T, b *bench) error {
	h := b.Hyper
	u := unlearn.SFRon{
		Iterations: h.NIters, Every: h.ForgetFreq, Alpha: h.ForgetAlpha, Fade: h.Sched, Lambda: given(h.Lambda),
		Threshold: h.Threshold, Clip: h.MaxNorm, Keep: h.EmaBeta, ForgetBatch: h.ForgetBatch,
	}
	b.checkMask(t, func(ctx context.Context) (unprune.Vector, error) {
		return u.Mask(ctx, b.task, h.ForgetBatch, h.RetainBatch)
	})
	b.anneal().prescribe(t)
	b.task.Epochs = 0
	return b.run(t, u)
}

func (b *bench) scrub(t *testing.T) error {
	h := b.Hyper
	u := unlearn.SCRUB{
		Alpha: given(h.Alpha), Gamma: given(h.Gamma), Temperature: h.KDT, MaxEpochs: given(h.MSteps), Smoothing: h.Smoothing, ForgetBatch: h.ForgetBatch,
	}
	return b.prescribe(t).run(t, u)
}

func (b *bench) badTeacher(t *testing.T) error {
	bad := b.engine.Weights().Clone()
	z := b.read(t, "extra.npz")
	for _, name := range bad.Names {
		bad.Tensors[name] = z["bad_teacher/"+name]
	}
	return b.prescribe(t).run(t, unlearn.BadTeacher{Temperature: b.Hyper.Temperature, Teacher: bad})
}

// prescribe hands the case's hyper-parameters to the task.
func (b *bench) prescribe(t *testing.T) *bench {
	t.Helper()
	h := b.Hyper
	// A case has one of each.
	rate, epochs := h.LR+h.UnlearnLR+h.SGDARate+h.RetainLR, h.Epochs+h.UnlearnEpochs+h.SGDAEpochs
	batch := max(h.Batch, h.RetainBatch)
	if strings.HasPrefix(b.Algorithm, "ga") && h.ForgetBatch != 0 {
		batch = h.ForgetBatch
	}
	if batch == 0 {
		batch = batchIn(t, b.BatchOrder)
	}
	var milestones []int
	if h.DecreasingLR != "" {
		for _, m := range strings.Split(h.DecreasingLR, ",") {
			e, err := strconv.Atoi(m)
			if err != nil {
				t.Fatal(err)
			}
			milestones = append(milestones, e)
		}
	}
	b.task.Rate, b.task.Epochs, b.task.Batch = rate, epochs, batch
	if b.task.Schedule == nil {
		b.task.Schedule = unprune.Steps(rate, milestones...)
	}
	o := &ops.Optimizer{Kind: "sgd", Momentum: h.Momentum + h.SGDAMomentum, WeightDecay: h.WeightDecay + h.SGDADecay, Nesterov: h.Nesterov}
	switch kind := strings.ToLower(h.Opt + h.Optimizer); {
	case strings.HasPrefix(kind, "adamw"):
		o.Kind, o.Momentum = "adamw", 0
	case strings.HasPrefix(kind, "adam"):
		o.Kind, o.Momentum = "adam", 0
	}
	if len(h.Betas) == 2 && o.Kind != "sgd" {
		o.Beta1, o.Beta2, o.Epsilon = h.Betas[0], h.Betas[1], h.Eps
	}
	b.task.Optimizer = o
	return b
}

// unpruneCase runs the loop and checks the mask after each growth and cut.
func unpruneCase(t *testing.T, b *bench) error {
	z := b.read(t, "theta0.npz")
	theta0 := unprune.NewWeights()
	for _, name := range b.engine.Weights().Names {
		if z[name] != nil {
			theta0.Add(name, z[name], false)
		}
	}
	masks, err := sparsity.MasksOf(b.engine.Layers())
	if err != nil {
		return err
	}
	u, words := unprune.Unlearner(unlearn.FineTune{}), b.BatchOrder
	if b.Hyper.Unlearner == "ga" {
		u = unlearn.GradientAscent{}
		_, words, _ = strings.Cut(words, "ga: ")
	}
	b.Hyper.Epochs, b.Hyper.Batch = 1, batchIn(t, words)
	recalibrate := 0
	if b.Hyper.Recalibrate == nil || *b.Hyper.Recalibrate {
		recalibrate = batchIn(t, b.Note)
	}
	b.prescribe(t)
	b.task.Initial = theta0
	want := b.read(t, "masks.npz")
	l := unprune.Loop{
		Unlearner: u, Pruner: sparsity.Magnitude{}, Rounds: b.Hyper.Rounds, Share: b.Hyper.P,
		Cumulative: b.Hyper.Schedule == "cumulative", Recalibrate: recalibrate,
		Observe: func(round int, grown bool, masks *sparsity.Masks) {
			kind := "mask"
			if grown {
				kind = "grown_mask"
			}
			for name, m := range masks.All() {
				key := fmt.Sprintf("round%d/%s/%s", round, kind, name)
				if w := want[key]; w == nil || !maskOf(w).Equal(m) {
					t.Errorf("%s differs from the reference", key)
				}
			}
		},
	}
	_, err = l.Run(t.Context(), b.task, masks)
	return err
}
