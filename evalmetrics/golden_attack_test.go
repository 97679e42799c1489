package evalmetrics

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"testing"

	"github.com/unprune/unprune/onnx"
)

// goldenSVC runs the reference's attack with its shadow sets and its modified
// entropy and compares features, machines and figures.
func goldenSVC(t *testing.T, name string) {
	var want struct {
		Model     string
		Protocols map[string]string
		SVC       struct{ C float64 }
		Result    struct {
			Efficacy map[Feature]float64 `json:"forget_efficacy"`
			Privacy  map[Feature]float64 `json:"training_privacy"`
		}
		MinMargin map[Feature]float64 `json:"decision_margin_min"`
		Tolerance struct{ Features float64 }
	}
	goldenCase(t, name, &want)
	net := openNet(t, name, "before.onnx")
	outputs := map[string]Outputs{}
	features := goldenArrays(t, name, "features.npz")
	for _, set := range []string{"retain", "test", "forget"} {
		outputs[set] = goldenOutputs(t, net, want.Model, set)
		for _, f := range Features {
			got, err := outputs[set].Feature(f, true)
			if err != nil {
				t.Fatal(err)
			}
			nearAll(t, fmt.Sprintf("%s %s", set, f), got.Values, features[set+"/"+string(f)], want.Tolerance.Features)
		}
	}
	retain, test, forget := outputs["retain"], outputs["test"], outputs["forget"]
	machines := goldenArrays(t, name, "svc.npz")
	attack := SVCAttack{SVC: SVC{C: want.SVC.C}, CodedMEntropy: true, Members: countIn(t, want.Protocols["forget_efficacy"], `first (\d+) retain`)}
	for _, f := range Features {
		got, err := attack.ForgetEfficacy(retain, test, forget, f)
		if err != nil {
			t.Fatal(err)
		}
		nearAll(t, fmt.Sprintf("decisions on %s", f), got.Decision, machines["efficacy/"+string(f)+"/decision_forget"], 5e-3)
		rate(t, fmt.Sprintf("efficacy by %s", f), got.Rate, want.Result.Efficacy[f], want.MinMargin[f], forget.Len())
		if got, err = attack.TrainingPrivacy(retain, test, f); err != nil {
			t.Fatal(err)
		}
		rate(t, fmt.Sprintf("privacy by %s", f), got.Rate, want.Result.Privacy[f], want.MinMargin[f], test.Len()-test.Len()/2)
	}
}

// rate compares shares of n samples: exactly where no decision is close to 0.
func rate(t *testing.T, what string, got, want, margin float64, n int) {
	t.Helper()
	tolerance := 1e-12
	if margin <= 5e-3 {
		tolerance += 1 / float64(n)
	}
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// nearAll compares numbers, each within the tolerance.
func nearAll(t *testing.T, what string, got []float64, want *onnx.Tensor, tolerance float64) {
	t.Helper()
	if want == nil || len(got) != want.Len() {
		t.Errorf("%s: %d values, want %v", what, len(got), want)
		return
	}
	for i, v := range got {
		if w := element(want, i); !(math.Abs(v-w) <= tolerance) {
			t.Errorf("%s: value %d is %v, want %v", what, i, v, w)
			return
		}
	}
}

func element(t *onnx.Tensor, i int) float64 {
	switch s := t.Data.(type) {
	case []float64:
		return s[i]
	case []float32:
		return float64(s[i])
	case []int32:
		return float64(s[i])
	}
	return math.NaN()
}

func countIn(t *testing.T, text, pattern string) int {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%q does not match %s", text, pattern)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// goldenThreshold runs the reference's threshold attacks on the sets that the
// case names.
func goldenThreshold(t *testing.T, name string) {
	var want struct {
		Model     string
		Sets      map[string]string
		Result    map[Feature][2]float64
		Tolerance struct{ Features float64 }
	}
	goldenCase(t, name, &want)
	net := openNet(t, name, "before.onnx")
	set := func(role string) Outputs {
		m := regexp.MustCompile(`^(\w+)(\[(\d*):(\d*)\])?$`).FindStringSubmatch(want.Sets[role])
		if m == nil {
			t.Fatalf("set %s is %q", role, want.Sets[role])
		}
		o := goldenOutputs(t, net, want.Model, m[1])
		from, to := 0, o.Len() // an end that is left out is that of the set
		if m[3] != "" {
			from = countIn(t, m[3], `(\d+)`)
		}
		if m[4] != "" {
			to = min(to, countIn(t, m[4], `(\d+)`))
		}
		var rows []int
		for i := from; i < to; i++ {
			rows = append(rows, i)
		}
		return o.Select(rows)
	}
	sets := AttackSets{set("shadow_train"), set("shadow_test"), set("target_train"), set("target_test")}
	arrays := goldenArrays(t, name, "features.npz")
	if len(want.Result) != 4 {
		t.Fatalf("%d attacks", len(want.Result))
	}
	for f, w := range want.Result {
		got, err := ThresholdAttack(sets, f)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(got.Members-w[0]) > 1e-12 || math.Abs(got.Others-w[1]) > 1e-12 {
			t.Errorf("%s: %v and %v, want %v", f, got.Members, got.Others, w)
		}
		if short, ok := map[Feature]string{Confidence: "conf", Entropy: "entr", MEntropy: "m_entr"}[f]; ok {
			nearAll(t, "thresholds on "+short, got.Thresholds, arrays["thresholds_"+short], want.Tolerance.Features)
		}
	}
}
