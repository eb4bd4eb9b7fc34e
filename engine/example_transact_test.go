package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/callbackd/callbackd/engine"
)

// An order of a shop and the event that tells of it are stored together, or neither is: there is no
// order that nobody is told of, and nobody is told of an order that there is not.
func ExampleEngine_Transact() {
	path, remove := exampleFile()
	defer remove()
	ctx := context.Background()
	eng, err := engine.Open(ctx, engine.Options{Path: path, Providers: []engine.Provider{counter()}})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	deployment, err := eng.CreateDeployment(ctx, engine.NewDeployment{Provider: "counter"})
	if err != nil {
		log.Fatal(err)
	}
	callback, err := eng.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "orders"}, DeploymentID: deployment.ID})
	if err != nil {
		log.Fatal(err)
	}

	// Tables of your own live in the same file, with names that begin with "app_".
	err = eng.Transact(ctx, func(tx *engine.Tx) error {
		_, err := tx.ExecContext(ctx, `
			CREATE TABLE IF NOT EXISTS app_stock (item TEXT PRIMARY KEY, count INTEGER NOT NULL CHECK (count >= 0)) STRICT;
			CREATE TABLE IF NOT EXISTS app_order (id INTEGER PRIMARY KEY, item TEXT NOT NULL REFERENCES app_stock (item)) STRICT;
			INSERT INTO app_stock (item, count) VALUES ('pen', 2) ON CONFLICT DO NOTHING`)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}

	order := func(item string) (id int64, err error) {
		err = eng.Transact(ctx, func(tx *engine.Tx) error {
			if err := tx.QueryRowContext(ctx, "INSERT INTO app_order (item) VALUES (?) RETURNING id", item).Scan(&id); err != nil {
				return err
			}
			output, err := json.Marshal(map[string]any{"id": id, "item": item})
			if err != nil {
				return err
			}
			if _, err := tx.Publish(callback.ID, engine.NewEvent{Type: "order.made", SourceID: fmt.Sprint("order-", id), Output: output}); err != nil {
				return err
			}
			var left int
			if err := tx.QueryRowContext(ctx, "SELECT count FROM app_stock WHERE item = ?", item).Scan(&left); err != nil {
				return err
			}
			if left == 0 {
				return errors.New("sold out") // and the order and its event were never there
			}
			_, err = tx.ExecContext(ctx, "UPDATE app_stock SET count = count - 1 WHERE item = ?", item)
			return err
		})
		return id, err
	}
	for range 3 {
		if id, err := order("pen"); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("order", id)
		}
	}
	events, err := eng.ListEvents(ctx, callback.ID, engine.EventFilter{}, engine.Page{})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range events.Items {
		fmt.Println(e.Type, string(e.Output))
	}
	// Output:
	// order 1
	// order 2
	// sold out
	// order.made {"id":1,"item":"pen"}
	// order.made {"id":2,"item":"pen"}
}
