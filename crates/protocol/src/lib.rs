//! What the controller and the agents say to each other, and what lies in the hub under the key ha.
