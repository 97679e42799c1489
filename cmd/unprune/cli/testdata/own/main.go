// Command own is "unprune" with an unlearner of one's own: a module outside this
// one needs no more than this file.
package main

import (
	"context"
	"errors"
	"os"
	"strconv"

	"github.com/unprune/unprune/cmd/unprune/cli"
	"github.com/unprune/unprune/unprune"
	"github.com/unprune/unprune/unprune/unlearn"
)

func main() { os.Exit(cli.Main(os.Args[1:], &uniform{rate: 0.05})) }

// uniform teaches equal probabilities for the samples to forget and the true
// labels for the rest.
type uniform struct{ rate float64 }

func (*uniform) Name() string         { return "uniform" }
func (*uniform) Needs() unprune.Needs { return unprune.NeedsForget | unprune.NeedsRetain }

func (u *uniform) Unlearn(ctx context.Context, t *unprune.Task) error {
	retain := unprune.Batches(t.Stream("order").Order(t.Retain), 64)
	for i, forget := range unprune.Batches(t.Stream("forget order").Order(t.Forget), 64) {
		equal := make([]float64, len(forget)*t.Engine.Classes())
		for j := range equal {
			equal[j] = 1 / float64(t.Engine.Classes())
		}
		_, err := t.Engine.Step(ctx, u.rate,
			unprune.Term{Data: t.Data, Index: retain[i%len(retain)], Weight: 1},
			unprune.Term{Data: t.Data, Index: forget, Soft: &unprune.Soft{Targets: equal, Weight: 1}})
		if err != nil {
			return err
		}
	}
	return nil
}

// Info is optional: it explains the unlearner in --unlearner list and gives it
// options.
func (u *uniform) Info() unlearn.Info {
	return unlearn.Info{
		About: "teach equal probabilities for the forgotten samples",
		Cost:  "2·n_f training samples",
		Options: []unlearn.Option{{
			Name: "rate", Default: "0.05", About: "learning rate",
			Set: func(value string) (err error) {
				if u.rate, err = strconv.ParseFloat(value, 64); err != nil {
					return errors.New("want a number")
				}
				return nil
			},
		}},
	}
}
