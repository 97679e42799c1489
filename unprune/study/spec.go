package study

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/unprune/unprune/graph/ops"
	"github.com/unprune/unprune/sparsity"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/data"
	"github.com/unprune/unprune/unprune/unlearn"
)

// A Spec is a study: a grid of settings, each a pruned network and a deletion
// request, and the methods that answer it.
type Spec struct {
	Name      string `yaml:"name"`
	Train     string `yaml:"train"`
	Test      string `yaml:"test"`
	Normalize string `yaml:"normalize"`

	// Samples is how many samples of either set are used, the first ones; 0: all.
	Samples int `yaml:"samples"`

	Models     []string  `yaml:"models"`
	Pruners    []string  `yaml:"pruners"`    // empty: magnitude
	Sparsities []float64 `yaml:"sparsities"` // empty: 0.9
	Forget     []string  `yaml:"forget"`
	Seeds      []uint64  `yaml:"seeds"` // of initial weights and data order

	Recipe Recipe `yaml:"recipe"`

	// Initial is where theta_0 comes from: "fresh", drawn anew for each seed
	// (the default), or "file", the weights in the model's file.
	Initial string `yaml:"initial"`

	Methods  []Block  `yaml:"methods"`
	Columns  []string `yaml:"columns"`  // of the tables for people, by name in the CSV table; empty: all
	Baseline string   `yaml:"baseline"` // label of the method that others are compared with in pairs

	// SameOrder compares the masks with the gold that shares the original's data
	// order, too: the one that replay aims at.
	SameOrder bool `yaml:"same-order"`

	// Attack is the number of shadow members, and of non-members, of the
	// membership attack on every answer; 0: none.
	Attack int `yaml:"attack"`

	own []unprune.Unlearner // that methods may name too
}

// Recipe is how originals and golds are made; what is zero is the model's own,
// if it has one, else as documented at unprune.Recipe.
type Recipe struct {
	Optimizer   string   `yaml:"optimizer" json:"optimizer,omitempty"`
	Momentum    *float64 `yaml:"momentum" json:"momentum,omitempty"`
	WeightDecay *float64 `yaml:"weight-decay" json:"weight_decay,omitempty"`
	Batch       int      `yaml:"batch" json:"batch,omitempty"`
	Epochs      int      `yaml:"epochs" json:"epochs,omitempty"`
	Rate        float64  `yaml:"lr" json:"lr,omitempty"`
	TuneEpochs  *int     `yaml:"tune-epochs" json:"tune_epochs,omitempty"`
	TuneRate    float64  `yaml:"tune-lr" json:"tune_lr,omitempty"`
	Rounds      int      `yaml:"prune-rounds" json:"prune_rounds,omitempty"`
}

// over replaces in r what the recipe says.
func (o Recipe) over(r unprune.Recipe) unprune.Recipe {
	if o.Optimizer != "" {
		r.Optimizer = ops.Optimizer{Kind: o.Optimizer, WeightDecay: r.Optimizer.WeightDecay}
		if o.Optimizer == "sgd" {
			r.Optimizer.Momentum = 0.9
		}
	}
	replace(&r.Optimizer.Momentum, o.Momentum)
	replace(&r.Optimizer.WeightDecay, o.WeightDecay)
	replace(&r.TuneEpochs, o.TuneEpochs)
	nonzero(&r.Batch, o.Batch)
	nonzero(&r.Epochs, o.Epochs)
	nonzero(&r.Rate, o.Rate)
	nonzero(&r.TuneRate, o.TuneRate)
	nonzero(&r.Rounds, o.Rounds)
	return r
}

func replace[T any](x *T, by *T) {
	if by != nil {
		*x = *by
	}
}

func nonzero[T comparable](x *T, by T) {
	var zero T
	if by != zero {
		*x = by
	}
}

// The rules: how an answer is made.
const (
	RuleLoop         = "loop"            // grow, unlearn, re-prune (the paper's)
	RuleBlend        = "blend"           // rescoring
	RuleControl      = "blend-control"   // rescoring with nothing forgotten
	RuleReplay       = "replay"          // rescoring in the original's data order
	RuleReplayOther  = "replay-control"  // the same with as many other samples left out
	RuleFixed        = "fixed"           // unlearn with the mask held
	RuleRewind       = "rewind"          // the same from part of the way back
	RuleShort        = "short-retrain"   // retrain with a small budget
	RuleOriginal     = "original"        // nothing done
	RuleGold         = "gold"            // what all are compared with
	RuleGold2        = "gold2"           // the same in another data order
	RuleSameOrder    = "same-order-gold" // the gold that shares the original's data order
	RuleNothingSaved = "independent"     // another run on all data
)

var rules = []string{
	RuleLoop, RuleBlend, RuleControl, RuleReplay, RuleReplayOther, RuleFixed, RuleRewind, RuleShort,
	RuleOriginal, RuleGold, RuleGold2, RuleSameOrder, RuleNothingSaved,
}

// A Method is one way to answer; what is zero has the default of the rule.
type Method struct {
	Label     string  `json:"-"`
	Rule      string  `json:"rule"`
	Unlearner string  `json:"unlearner,omitempty"` // "": ft
	Epochs    int     `json:"epochs,omitempty"`    // of the unlearner; 0: 1 per round of the loop, else 4 of ft and the published number of others
	Rate      float64 `json:"lr,omitempty"`        // its peak rate; 0: by the recipe for ft, the published one of others
	Share     float64 `json:"share,omitempty"`     // loop: p
	Rounds    int     `json:"rounds,omitempty"`    // loop
	Grow      string  `json:"grow,omitempty"`      // loop
	Init      string  `json:"init,omitempty"`      // loop
	Schedule  string  `json:"schedule,omitempty"`  // loop: cycle or cumulative
	Finish    int     `json:"finish,omitempty"`    // loop: epochs of fine-tuning at the end
	Keep      float64 `json:"keep,omitempty"`      // rescoring, rewind: a
	Weight    float64 `json:"weight,omitempty"`    // blend: c
	Extra     float64 `json:"extra,omitempty"`     // replay
	Short     int     `json:"short,omitempty"`     // rescoring: epochs of the short run
	NoDense   bool    `json:"no_dense,omitempty"`  // blend: as if theta_d were unknown

	Options map[string]string `json:"options,omitempty"` // of the unlearner, by name
}

// A Block is a grid of methods: every field takes one value or a list.
type Block struct {
	Name      string        `yaml:"name"` // in tables; empty: the rule
	Rule      string        `yaml:"rule"`
	Unlearner many[string]  `yaml:"unlearner"`
	Epochs    many[int]     `yaml:"epochs"`
	Rate      many[float64] `yaml:"lr"`
	Share     many[float64] `yaml:"share"`
	Rounds    many[int]     `yaml:"rounds"`
	Grow      many[string]  `yaml:"grow"`
	Init      many[string]  `yaml:"init"`
	Schedule  many[string]  `yaml:"schedule"`
	Finish    many[int]     `yaml:"finish"`
	Keep      many[float64] `yaml:"keep"`
	Weight    many[float64] `yaml:"weight"`
	Extra     many[float64] `yaml:"extra"`
	Short     many[int]     `yaml:"short"`
	NoDense   many[bool]    `yaml:"no-dense"`

	Options map[string]string `yaml:"options"` // of the unlearner, in all its methods
}

// many is one value or a list.
type many[T any] []T

// UnmarshalYAML accepts both.
func (m *many[T]) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		return n.Decode((*[]T)(m))
	}
	var one T
	if err := n.Decode(&one); err != nil {
		return err
	}
	*m = many[T]{one}
	return nil
}

// expand lists the methods of a block; labels name what differs among them.
func (b Block) expand() []Method {
	label := b.Name
	if label == "" {
		label = b.Rule
	}
	methods := []Method{{Label: label, Rule: b.Rule, Options: b.Options}}
	cross(&methods, "", b.Unlearner, func(m *Method, v string) { m.Unlearner = v })
	cross(&methods, "epochs=", b.Epochs, func(m *Method, v int) { m.Epochs = v })
	cross(&methods, "lr=", b.Rate, func(m *Method, v float64) { m.Rate = v })
	cross(&methods, "p=", b.Share, func(m *Method, v float64) { m.Share = v })
	cross(&methods, "R=", b.Rounds, func(m *Method, v int) { m.Rounds = v })
	cross(&methods, "grow=", b.Grow, func(m *Method, v string) { m.Grow = v })
	cross(&methods, "init=", b.Init, func(m *Method, v string) { m.Init = v })
	cross(&methods, "", b.Schedule, func(m *Method, v string) { m.Schedule = v })
	cross(&methods, "finish=", b.Finish, func(m *Method, v int) { m.Finish = v })
	cross(&methods, "a=", b.Keep, func(m *Method, v float64) { m.Keep = v })
	cross(&methods, "c=", b.Weight, func(m *Method, v float64) { m.Weight = v })
	cross(&methods, "extra=", b.Extra, func(m *Method, v float64) { m.Extra = v })
	cross(&methods, "e=", b.Short, func(m *Method, v int) { m.Short = v })
	cross(&methods, "no-dense=", b.NoDense, func(m *Method, v bool) { m.NoDense = v })
	return methods
}

// cross multiplies the methods by the values of one field.
func cross[T any](methods *[]Method, prefix string, values many[T], set func(*Method, T)) {
	if len(values) == 0 {
		return
	}
	var out []Method
	for _, m := range *methods {
		for _, v := range values {
			n := m
			set(&n, v)
			if len(values) > 1 {
				n.Label += fmt.Sprintf(" %s%v", prefix, v)
			}
			out = append(out, n)
		}
	}
	*methods = out
}

// ReadSpec reads a study from YAML and checks it before anything is computed.
// Its methods may name unlearners of package unlearn and one's own.
func ReadSpec(r io.Reader, own ...unprune.Unlearner) (*Spec, error) {
	dec := yaml.NewDecoder(r)
	dec.KnownFields(true)
	s := &Spec{own: own}
	if err := dec.Decode(s); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("study: the file is empty")
		}
		return nil, fmt.Errorf("study: %w", err)
	}
	if len(s.Pruners) == 0 {
		s.Pruners = []string{"magnitude"}
	}
	if len(s.Sparsities) == 0 {
		s.Sparsities = []float64{0.9}
	}
	if s.Initial == "" {
		s.Initial = "fresh"
	}
	return s, s.check()
}

func (s *Spec) check() error {
	switch {
	case s.Train == "" || s.Test == "":
		return fmt.Errorf("study: train and test are missing: name the data")
	case len(s.Models) == 0 || len(s.Forget) == 0 || len(s.Seeds) == 0 || len(s.Methods) == 0:
		return fmt.Errorf("study: models, forget, seeds and methods each need an entry")
	case s.Initial != "fresh" && s.Initial != "file":
		return fmt.Errorf("study: initial %q: want fresh or file", s.Initial)
	case s.Samples < 0:
		return fmt.Errorf("study: samples %d: want a number of samples, or 0 for all", s.Samples)
	case s.Attack < 0:
		return fmt.Errorf("study: attack %d: want a number of samples, or 0 for none", s.Attack)
	}
	for _, name := range s.Columns {
		if !slices.ContainsFunc(columns, func(c column) bool { return c.name == name }) {
			return fmt.Errorf("study: column %q: want one of those in summary.csv, such as %s", name, columns[0].name)
		}
	}
	for _, name := range s.Pruners {
		if _, err := sparsity.ByName(name); err != nil {
			return fmt.Errorf("study: %w", err)
		}
	}
	for _, x := range s.Sparsities {
		if !(x > 0 && x < 1) {
			return fmt.Errorf("study: sparsity %g: want a number between 0 and 1", x)
		}
	}
	for _, text := range s.Forget {
		if _, err := data.ParseForget(text); err != nil {
			return fmt.Errorf("study: %w", err)
		}
	}
	labels := map[string]bool{}
	for _, m := range s.methods() {
		if err := m.check(s.own); err != nil {
			return err
		}
		if labels[m.Label] {
			return fmt.Errorf("study: two methods are called %q: give their blocks different names", m.Label)
		}
		labels[m.Label] = true
	}
	if s.Baseline != "" && !labels[s.Baseline] {
		return fmt.Errorf("study: the baseline %q is not among the methods", s.Baseline)
	}
	return nil
}

func (m Method) check(own []unprune.Unlearner) error {
	if !slices.Contains(rules, m.Rule) {
		return fmt.Errorf("study: rule %q: want one of %s", m.Rule, strings.Join(rules, ", "))
	}
	if m.Schedule != "" && m.Schedule != "cycle" && m.Schedule != "cumulative" {
		return fmt.Errorf("study: schedule %q: want cycle or cumulative", m.Schedule)
	}
	_, err := m.unlearner(own)
	return err
}

func (m Method) unlearner(own []unprune.Unlearner) (unprune.Unlearner, error) {
	name := m.Unlearner
	if name == "" {
		name = unlearn.FineTune{}.Name()
	}
	u, err := unlearn.New(name, m.Options, own...)
	if err != nil {
		return nil, fmt.Errorf("study: %w", err)
	}
	return u, nil
}

func (s *Spec) methods() []Method {
	var out []Method
	for _, b := range s.Methods {
		out = append(out, b.expand()...)
	}
	return out
}

// A Setting is one original network and one deletion request.
type Setting struct {
	Model    string  `json:"model"`
	Pruner   string  `json:"pruner"`
	Sparsity float64 `json:"sparsity"`
	Seed     uint64  `json:"seed"`
	Forget   string  `json:"forget"`
}

// Settings lists the grid's settings; those that share an original stand
// together.
func (s *Spec) Settings() []Setting {
	var out []Setting
	for _, model := range s.Models {
		for _, pruner := range s.Pruners {
			for _, share := range s.Sparsities {
				for _, seed := range s.Seeds {
					for _, forget := range s.Forget {
						out = append(out, Setting{model, pruner, share, seed, forget})
					}
				}
			}
		}
	}
	return out
}
