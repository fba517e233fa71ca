package main

import (
	"embed"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed help/*.md
var topics embed.FS

// addTopics makes each page of the manual a topic of `chartlift help`.
func (a *app) addTopics(root *cobra.Command) {
	pages, err := topics.ReadDir("help")
	if err != nil {
		return // embedded at build time: the folder is always there
	}
	for _, page := range pages {
		name := strings.TrimSuffix(page.Name(), ".md")
		data, err := topics.ReadFile(path.Join("help", page.Name()))
		if err != nil {
			continue
		}
		title, _, _ := strings.Cut(strings.TrimPrefix(string(data), "# "), "\n")
		topic := &cobra.Command{Use: name, Short: title, Long: string(data)}
		topic.SetHelpFunc(func(cmd *cobra.Command, _ []string) { fmt.Fprintln(a.stdout, strings.TrimSpace(cmd.Long)) })
		root.AddCommand(topic)
	}
}
