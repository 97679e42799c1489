// Package report writes what a run found as one HTML page.
//
// The page is one file that needs nothing else: styles and pictures are inside
// it, there are no scripts, and its content security policy forbids browsers
// to load anything. It follows the reader's light or dark setting, fits narrow
// screens and prints.
//
// The package draws what it is given and judges nothing: the verdict's words
// come from the caller, so that page and terminal say the same. A figure that
// was not measured is NaN and shows as a dash. All text is escaped; names from
// model files cannot become markup.
package report
