package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/plan"
)

func (a *app) keysCommand() *cobra.Command {
	group := &cobra.Command{
		Use:   "keys",
		Short: "Make, back up, restore and rotate the keys that seal patient data",
		Long: `Patient data is encrypted under a key of each patient; those are wrapped by a root key, and that by the
key-encryption key (KEK) that the plan names under phi.keys.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(&cobra.Command{
		Use:   "init",
		Short: "Make the KEK (if it is a file), the root key and the id key",
		Long: `Makes the keys of the plan's migration, once. Nothing that exists is ever overwritten. Keys must lie apart
from data: a path inside the stage's or the ledger's folder is refused.

Whoever loses these files loses the patient data that is sealed with them: keep a copy in another place.`,
		Example: "  chartlift keys init",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			uri, err := plan.InitKeys(cmd.Context(), a.plan)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"keys": uri})
			}
			fmt.Fprintf(a.stdout, "the keys of this migration are at %s\nkeep a copy of the key-encryption key in another place, and `chartlift keys backup`; next: `chartlift dry-run`\n", uri)
			return nil
		},
	})
	group.AddCommand(a.keysBackupCommand(), a.keysRestoreCommand(), a.keysRotateCommand())
	return group
}

func (a *app) keysBackupCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Back up the keyring and the key store into one file",
		Long: `Writes the root key, the id key and every patient's key, as they lie on disk and encrypted once more under the
key-encryption key (KEK), into one new file. It may be made while a run adds keys. The KEK is not in it: keep a copy of
the KEK in another place than the backup. Who has only one of the two has nothing.

Patients who come later have keys that the backup does not hold; make a new one after each run that adds patients.

Exit: 0 made · 2 the file is there already, or lies inside the stage's or the ledger's folder.`,
		Example: "  chartlift keys backup -o /media/safe/riverside-2026.keys",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("keys backup needs -o FILE")
			}
			b, err := plan.BackupKeys(cmd.Context(), a.plan, file, a.keyOptions())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(b)
			}
			fmt.Fprintf(a.stdout, "backed up the root key, the id key and %s to %s\n", plural(b.Keys, "data key"), b.File)
			if !b.Audited {
				fmt.Fprintln(a.stdout, "a run holds the ledger, so the audit log has no entry of it; that of the restore will name it")
			}
			fmt.Fprintf(a.stdout, "it opens only with the key-encryption key: keep a copy of that elsewhere\nnext: `chartlift keys restore %s --kek file:COPY` proves that it can be restored\n", b.File)
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "the new file")
	return cmd
}

func (a *app) keysRestoreCommand() *cobra.Command {
	var o plan.RestoreOptions
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Restore a backup of the keys, or prove that it can be restored",
		Long: `Restores a backup into an empty folder, opens it as a run would, and opens every patient's key in it. Then
what is missing of the plan's keys is put into its place; what is there is never changed. So on a machine that has its
keys the command is a rehearsal, and on one that lost them it is the rescue.

The proof is recorded beside the keyring and in the audit log. Deliveries sealed and split send nothing to a real target
until a restore was proven.

--kek names the copy of the key-encryption key that is kept elsewhere: only with it the rehearsal proves that copy too.
--into leaves the restored files in a folder of your choice.

Exit: 0 every key opened · 2 not a whole backup of these keys under this KEK.`,
		Example: "  chartlift keys restore /media/safe/riverside-2026.keys --kek file:/media/other-safe/kek",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Options, o.File = a.keyOptions(), args[0]
			r, err := plan.RestoreKeys(cmd.Context(), a.plan, o)
			if err != nil {
				return err
			}
			if a.json {
				if r.Placed == nil {
					r.Placed = []string{}
				}
				return a.printJSON(r)
			}
			fmt.Fprintf(a.stdout, "restored: the root key, the id key and %s open (backup of %s)\n", plural(r.Opened, "data key"), r.Made.Format("2006-01-02 15:04 UTC"))
			for _, file := range r.Placed {
				fmt.Fprintln(a.stdout, "written:", file)
			}
			switch {
			case r.Recorded && o.KEK == "":
				fmt.Fprintln(a.stdout, "the proof is recorded; it used the plan's own key-encryption key: --kek file:COPY proves the copy, too")
			case r.Recorded:
				fmt.Fprintln(a.stdout, "the proof is recorded")
			default:
				fmt.Fprintln(a.stdout, "the plan's own keys cannot be opened here, so no proof is recorded beside them")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.KEK, "kek", "", "the copy of the key-encryption key, file:PATH; default: the plan's own")
	cmd.Flags().StringVar(&o.Into, "into", "", "restore to this empty folder instead")
	return cmd
}

func (a *app) keysRotateCommand() *cobra.Command {
	var kek string
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new root key, and wrap every patient's key again under it",
		Long: `Adds a new root key to the keyring and wraps every patient's key again under it. The patients' keys stay what they
are, ids too, and what was sealed before stays readable: older root keys stay in the keyring to open what was made under
them, and nothing new is encrypted with them. Whenever the command is cut off everything opens; the same command again
finishes what was begun. It is refused while a run is on.

A backup from before does not open what is sealed from here on, so its proof ends: make a new backup, prove it, and
destroy the old one.

--kek puts the keyring under another key-encryption key instead (a file is made if it is not there) and leaves the root
key as it is. Name the new key in the plan then, under phi.keys; the old one opens the keyring no more, but backups from
before still need it.

Exit: 0 rotated · 1 the ledger is held by a run · 2 the keys do not open, or another process is adding to them.`,
		Example: `  chartlift keys rotate
  chartlift keys rotate --kek file:/media/new-safe/kek`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := plan.RotateKeys(cmd.Context(), a.plan, kek, a.keyOptions())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			if r.Rotation == nil {
				fmt.Fprintf(a.stdout, "the keyring is under %s now; its folder is still %s\nnext: write both in the plan, phi: {keys: %s, key-store: %s}, and make a new backup with `chartlift keys backup`\n", r.KEK, r.Store, r.KEK, r.Store)
				return nil
			}
			if r.Resumed {
				fmt.Fprintln(a.stdout, "a rotation that had been cut off is finished")
			}
			fmt.Fprintf(a.stdout, "the keyring has root key %d; %s wrapped under it\nnext: a new backup with `chartlift keys backup -o FILE`, and `chartlift keys restore FILE` to prove it; then destroy the old one\n", r.Root, plural(r.Keys, "data key"))
			return nil
		},
	}
	cmd.Flags().StringVar(&kek, "kek", "", "put the keyring under this key-encryption key instead, file:PATH")
	return cmd
}

// keyOptions is what the care of keys needs of this execution.
func (a *app) keyOptions() plan.Options {
	return plan.Options{Operator: operator(), Now: time.Now, Version: version}
}
