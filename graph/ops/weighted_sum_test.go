package ops_test

import "github.com/unprune/unprune/graph/ops"

var _ = addCases(
	Case{Op: "WeightedSum", Domain: ops.Domain, In: []input{normal(2, 3, 4, 5), normal(3), normal(2, 3, 4, 5), normal(3), normal(2, 3, 4, 5), omit, normal(2, 3, 4, 5), normal(3)}, Diff: []int{0, 1, 3, 4, 6, 7}},
	Case{Op: "WeightedSum", Domain: ops.Domain, Name: "one axis", In: []input{normal(7), omit, normal(7), omit, normal(7)}, Diff: []int{0, 4}},
	Case{Op: "WeightedSum", Domain: ops.Domain, Name: "matrix, one term", In: []input{normal(4, 3), normal(3)}, Diff: []int{0, 1}},
)

var _ = addMistakes([]mistake{
	{Case{Op: "WeightedSum", Domain: ops.Domain, In: []input{normal(2, 3), omit, omit, omit, normal(3, 2)}}, "want terms of shape [2 3]"},
	{Case{Op: "WeightedSum", Domain: ops.Domain, In: []input{normal(2, 3), omit, omit, normal(2)}}, "want [3]"},
	{Case{Op: "WeightedSum", Domain: ops.Domain, In: []input{normal(2, 3), omit, omit, omit, omit, normal(3)}}, "want terms of shape [2 3]"},
	{Case{Op: "WeightedSum", Domain: ops.Domain, In: []input{normal(3), normal(3)}}, "want [N C ...]"},
}...)
