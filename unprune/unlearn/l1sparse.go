package unlearn

import (
	"context"

	"github.com/unprune/unprune/unprune"
)

// L1Sparse fine-tunes with a fading penalty that favours sparse weights: SGD on
// L_r + α_e·‖θ‖₁ over all parameters, subgradient 0 at 0, train mode. With E
// epochs, the last E₀ of them without penalty, α_e = α·(1 - e/(E-E₀)) for e <
// E-E₀, else 0; with E₀ = E it is α throughout (Jia et al. 2023, Unlearn-Sparse
// FT.py FT_l1). Defaults: α 5e-4 (the code gives none; 2e-4 to 5e-4 are usual),
// E₀ 0, and those of fine-tuning.
type L1Sparse struct {
	Alpha float64 // α; 0: 5e-4, negative: none
	Free  int     // E₀
}

// Name is "l1-sparse".
func (L1Sparse) Name() string { return "l1-sparse" }

// Needs retained data.
func (L1Sparse) Needs() unprune.Needs { return unprune.NeedsRetain }

// Unlearn fine-tunes with the penalty.
func (u L1Sparse) Unlearn(ctx context.Context, t *unprune.Task) error {
	r, err := start(t, u.Name(), fineTune)
	if err != nil {
		return err
	}
	alpha := 0.0
	r.edits = append(r.edits, r.penalize(&alpha))
	order := t.Stream("order")
	return r.epochs(func(epoch int, rate float64) error {
		alpha = u.alpha(epoch, r.recipe.epochs)
		return r.retain(ctx, rate, order)
	})
}

// alpha is the penalty of an epoch.
func (u L1Sparse) alpha(epoch, epochs int) float64 {
	alpha, with := orNone(u.Alpha, 5e-4), epochs-u.Free
	switch {
	case with == 0:
		return alpha
	case epoch < with:
		return alpha * (1 - float64(epoch)/float64(with))
	}
	return 0
}

// Info describes l1-sparse unlearning.
func (u *L1Sparse) Info() Info {
	return Info{
		About:  "fine-tune on the retained data with a fading L1 penalty",
		Good:   "fine-tuning that forgets more, on dense networks above all; masks stay as they are",
		Cost:   "epochs·n_r training samples",
		Source: "Jia et al. 2023; Unlearn-Sparse unlearn/FT.py FT_l1",
		Recipe: fineTune.String(),
		Options: []Option{
			number("alpha", &u.Alpha, 5e-4, "weight of the penalty in the first epoch (the code gives none; 2e-4 to 5e-4 are usual)"),
			integer("no-l1-epochs", &u.Free, 0, "last epochs without penalty"),
		},
	}
}
