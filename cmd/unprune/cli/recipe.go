package cli

import (
	"fmt"
	"math"
	"strings"

	"github.com/spf13/pflag"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/graph/pass"
	"github.com/unprune/unprune/models"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
)

// recipeOptions tell how the original was trained and pruned.
type recipeOptions struct {
	epochs      int
	rate        float64
	batch       int
	optimizer   string
	momentum    float64
	nesterov    bool
	weightDecay float64
	tuneEpochs  int
	tuneRate    float64

	pruner   string
	sparsity float64
	rounds   int
	skip     []string
	schedule string
	budget   string
}

// addTraining adds the flags of dense training.
func (o *recipeOptions) addTraining(f *pflag.FlagSet) {
	f.IntVar(&o.epochs, "epochs", 10, "epochs of the original training, before pruning")
	f.Float64Var(&o.rate, "lr", 0.05, "its peak learning rate (annealed to 0 by a cosine)")
	f.IntVar(&o.batch, "batch", 128, "its batch size")
	f.StringVar(&o.optimizer, "optimizer", "sgd", "its optimizer: sgd, adam or adamw")
	f.Float64Var(&o.momentum, "momentum", 0.9, "its momentum (sgd)")
	f.BoolVar(&o.nesterov, "nesterov", false, "its momentum was Nesterov's (sgd)")
	f.Float64Var(&o.weightDecay, "weight-decay", 5e-4, "its weight decay")
}

// addPruning adds the flags of pruning and of the fine-tuning after it.
func (o *recipeOptions) addPruning(f *pflag.FlagSet) {
	f.StringVar(&o.pruner, "pruner", "", "pruner: "+strings.Join(prunerNames(), ", ")+" (default: recognised from the zeros)")
	f.Float64Var(&o.sparsity, "sparsity", 0, "share of the weights (or filters) to prune, 0 to 1 (default: as in the model)")
	f.StringSliceVar(&o.skip, "skip", nil, "`layers` that are not pruned: names, patterns with * and ?, first, last (default: those without a zero)")
	f.IntVar(&o.rounds, "prune-rounds", 1, "rounds of iterative pruning, each but the first rewinding to the initial weights (LTH); 1: one-shot")
	f.StringVar(&o.schedule, "schedule", "iterative", "how the rounds share the pruning: iterative (the same share of what is alive) or cubic (much early, little late)")
	f.StringVar(&o.budget, "budget", "", "how the layers share it: uniform or erk (default: as the pruner does)")
	f.IntVar(&o.tuneEpochs, "tune-epochs", 4, "epochs of fine-tuning after pruning, mask fixed")
	f.Float64Var(&o.tuneRate, "tune-lr", 0, "their peak learning rate (default: 0.4 of --lr)")
}

func prunerNames() []string {
	var names []string
	for _, p := range sparsity.Pruners() {
		names = append(names, p.Name())
	}
	return append(names, sparsity.GroupL2Name)
}

// embeddedRecipe is how an embedded network was made; ok is false for files.
func embeddedRecipe(model string) (models.Recipe, bool) {
	name, _, _ := strings.Cut(model, "/")
	for _, net := range []models.Net{models.LeNet300(), models.LeNet5()} {
		if net.Recipe.Name == name {
			return net.Recipe, true
		}
	}
	return models.Recipe{}, false
}

// adopt takes over what is known of an embedded network, where no flag says
// otherwise. For files, it says which settings are assumed.
func (o *recipeOptions) adopt(a *app, model string) {
	flags := a.ran.cmd.Flags()
	r, ok := embeddedRecipe(model)
	if !ok {
		if !flags.Changed("epochs") || !flags.Changed("lr") {
			a.log.Warn(fmt.Sprintf("assuming that the original was trained for %d epochs at learning rate %g, batch %d, with %s; say how with --epochs, --lr, --batch, --optimizer", o.epochs, o.rate, o.batch, o.optimizer))
		}
		return
	}
	set := func(flag string, apply func()) {
		if f := flags.Lookup(flag); f != nil && !f.Changed {
			apply()
		}
	}
	set("epochs", func() { o.epochs = r.DenseEpochs })
	set("lr", func() { o.rate = r.DenseRate })
	set("batch", func() { o.batch = r.Batch })
	set("momentum", func() { o.momentum = r.Momentum })
	set("weight-decay", func() { o.weightDecay = r.WeightDecay })
	set("tune-epochs", func() { o.tuneEpochs = r.FinetuneEpochs })
	set("tune-lr", func() { o.tuneRate = r.FinetuneRate })
}

// check refuses impossible settings, before anything is read.
func (o *recipeOptions) check() error {
	if o.epochs < 1 || o.batch < 1 {
		return usagef("--epochs %d, --batch %d: want positive numbers", o.epochs, o.batch)
	}
	if !positive(o.rate) {
		return usagef("--lr %g: want a positive number", o.rate)
	}
	if err := o.updateRule().Check(); err != nil {
		return usageError{err}
	}
	if o.tuneEpochs < 0 || o.tuneRate < 0 || o.rounds < 1 {
		return usagef("--tune-epochs %d, --tune-lr %g, --prune-rounds %d: want positive numbers", o.tuneEpochs, o.tuneRate, o.rounds)
	}
	if o.sparsity != 0 && !(o.sparsity > 0 && o.sparsity < 1) {
		return usagef("--sparsity %g: want a number between 0 and 1", o.sparsity)
	}
	if _, err := sparsity.ScheduleByName(o.schedule); o.schedule != "" && err != nil {
		return usageError{err}
	}
	if _, err := sparsity.BudgetByName(o.budget); o.budget != "" && err != nil {
		return usageError{err}
	}
	if o.pruner == "" {
		return nil
	}
	if o.pruner == sparsity.GroupL2Name {
		if o.budget != "" {
			return usagef("--budget spreads pruning over layers; --pruner %s takes the same share of each group", o.pruner)
		}
		return nil
	}
	if _, err := sparsity.ByName(o.pruner); err != nil {
		return usageError{err}
	}
	return nil
}

// named is the pruner that was asked for.
func (o *recipeOptions) named(groups []sparsity.Group) (sparsity.Pruner, error) {
	if o.pruner == sparsity.GroupL2Name {
		return sparsity.NewGroupL2(groups), nil
	}
	return sparsity.ByName(o.pruner)
}

func (o *recipeOptions) updateRule() ops.Optimizer {
	rule := ops.Optimizer{Kind: o.optimizer, WeightDecay: o.weightDecay}
	if o.optimizer == "sgd" {
		rule.Momentum, rule.Nesterov = o.momentum, o.nesterov
	}
	return rule
}

// recipe adds pruning to training: from the flags, and where they are silent
// from what the zeros of the model look like.
func (o *recipeOptions) recipe(a *app, im *pass.Model, layers []sparsity.Layer) (unprune.Recipe, *sparsity.Masks, error) {
	r := unprune.Recipe{
		Optimizer: o.updateRule(), Batch: o.batch, Epochs: o.epochs, Rate: o.rate,
		Rounds: o.rounds, TuneEpochs: o.tuneEpochs, TuneRate: o.tuneRate,
	}
	if r.TuneRate == 0 {
		r.TuneRate = 0.4 * r.Rate
	}
	pattern, groups, err := recognise(im, layers, o.pruner == sparsity.GroupL2Name)
	if err != nil {
		return r, nil, err
	}
	if err := o.choosePruner(a, &r, layers, pattern, groups); err != nil {
		return r, nil, err
	}
	if o.budget != "" {
		budget, err := sparsity.BudgetByName(o.budget)
		if err != nil {
			return r, nil, err
		}
		r.Pruner = sparsity.Budgeted{Pruner: r.Pruner, Budget: budget}
	}
	if o.schedule != "" {
		if r.Schedule, err = sparsity.ScheduleByName(o.schedule); err != nil {
			return r, nil, err
		}
	}
	skip, err := o.skipped(layers, pattern)
	if err != nil {
		return r, nil, err
	}
	r.Skip = func(layer string) bool { return skip[layer] }
	r.Sparsity = o.sparsity
	if pattern, ok := r.Pruner.(sparsity.NM); ok && r.Sparsity == 0 {
		r.Sparsity = pattern.Share()
	}
	if r.Sparsity == 0 {
		r.Sparsity = prunedShare(r, layers, pattern.Masks)
	}
	masks := &sparsity.Masks{}
	for name, m := range pattern.Masks.All() {
		if !skip[name] {
			masks.Set(name, m)
		}
	}
	if masks.Len() == 0 {
		return r, nil, fmt.Errorf("every layer is skipped; nothing is left to prune")
	}
	return r, masks, nil
}

// recognise says what the zeros of a model look like. Where they are filters or
// channels, or where they are asked for, it finds the groups of units that go
// together too.
func recognise(im *pass.Model, layers []sparsity.Layer, grouped bool) (sparsity.Pattern, []sparsity.Group, error) {
	pattern, err := sparsity.Recognise(layers)
	if err != nil || !grouped && (pattern.Dense || pattern.Unit == sparsity.Weight) {
		return pattern, nil, err
	}
	groups, err := groupsOf(im, layers)
	if err != nil {
		return pattern, nil, err
	}
	pattern.Join(groups, layers)
	return pattern, groups, nil
}

// groupsOf are the units of a model that go together.
func groupsOf(im *pass.Model, layers []sparsity.Layer) ([]sparsity.Group, error) {
	g, err := pass.Specialise(im.Graph, pass.Target{Batch: 1, Keep: im.Floats()})
	if err != nil {
		return nil, err
	}
	return sparsity.Groups(g, layers)
}

func (o *recipeOptions) choosePruner(a *app, r *unprune.Recipe, layers []sparsity.Layer, pattern sparsity.Pattern, groups []sparsity.Group) (err error) {
	if o.pruner != "" {
		if r.Pruner, err = o.named(groups); err != nil {
			return err
		}
		if doubt := pattern.Contradicts(layers, r.Pruner); doubt != nil {
			a.log.Warn(sentence(doubt))
		}
		return nil
	}
	r.Pruner = pattern.Pruner()
	if pattern.Dense {
		a.log.Info(fmt.Sprintf("pruner: %s (none given)", r.Pruner.Name()))
	} else {
		a.log.Info(fmt.Sprintf("%.1f %% of the weights are zero; it looks like pruner %s (%s); say otherwise with --pruner", 100*(1-pattern.Masks.Density()), r.Pruner.Name(), pattern.Evidence))
	}
	return nil
}

// skipped is the set of layers that are not pruned.
func (o *recipeOptions) skipped(layers []sparsity.Layer, pattern sparsity.Pattern) (map[string]bool, error) {
	skip := map[string]bool{}
	_, named, err := sparsity.Skip(layers, o.skip)
	if err != nil {
		return nil, usageError{fmt.Errorf("--skip: %w", err)}
	}
	for _, name := range named {
		skip[name] = true
	}
	if len(o.skip) == 0 && !pattern.Dense {
		for _, l := range pattern.Layers {
			skip[l.Name] = l.Kept == l.Total
		}
	}
	return skip, nil
}

// prunedShare is the share of units that are pruned in the model.
func prunedShare(r unprune.Recipe, layers []sparsity.Layer, masks *sparsity.Masks) float64 {
	var prunable []sparsity.Layer
	for _, l := range layers {
		if !r.Skip(l.Name) {
			prunable = append(prunable, l)
		}
	}
	units, kept := 0, 0
	for _, m := range sparsity.Alive(sparsity.Unscored(r.Pruner, prunable), masks) {
		units, kept = units+m.Len(), kept+m.Count()
	}
	return 1 - float64(kept)/float64(max(1, units))
}

func positive(x float64) bool { return x > 0 && !math.IsInf(x, 1) }
