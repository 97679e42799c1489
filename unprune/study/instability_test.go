package study_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/unprune/unprune/unprune/study"
)

// TestInstability attacks fixed networks in all variations and checks that the
// outcome is consistent with itself.
func TestInstability(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: trains several networks and attacks them")
	}
	p, test := lenet300(t, "class:0")
	u, err := study.Instability{Problem: p, Test: test, Shadows: 200, Draws: 4, Golds: 2}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Networks) != 5 {
		t.Fatalf("%d networks", len(u.Networks))
	}
	for _, n := range u.Networks {
		for kind, want := range map[string]int{
			study.VaryForget: 8, study.VaryRatio: 9, study.VaryDraw: 5, study.VaryFeature: 5, study.VaryMachine: 4,
		} {
			if got := len(n.Variants[kind]); got != want {
				t.Errorf("%s: %d variants of %s, want %d", n.Name, got, kind, want)
			}
		}
		if n.Variants[study.VaryFeature][1].Efficacy != n.Base.Efficacy || n.Variants[study.VaryRatio][4].Efficacy != n.Base.Efficacy {
			t.Errorf("%s: confidence at 5:5 is not the base attack", n.Name)
		}
		low, high := n.Spread(study.Variations...)
		t.Logf("%-10s base %.2f, %.2f to %.2f, AUC %.2f", n.Name, n.Base.Efficacy, low, high, n.Base.AUC)
	}
	t.Log(u.Verdict(), u.Flips)
	if u.Supported != (u.Spread > u.Gap) || !strings.HasPrefix(u.Verdict(), map[bool]string{true: "Supported", false: "Not supported"}[u.Supported]) {
		t.Errorf("%+v: %s", u, u.Verdict())
	}
	var svg strings.Builder
	if err := u.SVG(&svg); err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(strings.NewReader(svg.String()))
	circles := 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 5*31 {
		t.Errorf("%d dots", circles)
	}
}

func TestInstabilityNeedsSamples(t *testing.T) {
	p, test := lenet300(t, "class:0")
	p.Recipe.Epochs, p.Recipe.TuneEpochs = 1, 0
	if _, err := (study.Instability{Problem: p, Test: test, Shadows: 20000}).Run(t.Context()); err == nil {
		t.Error("more shadows than samples: no error")
	}
}
