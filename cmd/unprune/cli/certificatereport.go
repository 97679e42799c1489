package cli

import (
	"fmt"
	"path/filepath"

	"github.com/unprune/unprune/evalmetrics/report"
	"github.com/unprune/unprune/unprune"
)

// section is what a report says of the certificate; nil if there is none.
func (c *issued) section() *report.Certificate {
	if c == nil {
		return nil
	}
	name := filepath.Base(c.path)
	s := &report.Certificate{
		Statement: fmt.Sprintf("%s is an in-toto statement in a DSSE envelope, signed with Ed25519. It says which model became which without which %d samples, and commits to these by a salted Merkle root: one of them can be shown to be among them without showing the others.", name, c.Forget.Count),
		Items: []report.Item{
			{Name: "SHA-256 of the envelope, by which the next deletion names it", Value: unprune.Digest(c.envelope)},
			{Name: "signed by the key with the SHA-256", Value: unprune.Digest(c.key)},
			{Name: "model before: " + c.Input.Name, Value: c.Input.SHA256},
			{Name: "model after: " + c.Output.Name, Value: c.Output.SHA256},
			{Name: "root of the deleted samples", Value: c.Forget.Root},
		},
		Command: fmt.Sprintf("unprune certificate verify %s --key PUBLIC.pem --input %s --output %s", name, c.Input.Name, c.Output.Name),
	}
	if c.Predecessor != "" {
		s.Items = append(s.Items, report.Item{Name: "follows the deletion whose envelope has the SHA-256", Value: c.Predecessor})
	}
	return s
}
