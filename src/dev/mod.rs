//! The local machine: the same handlers against embedded stores and a simulated Gemini API.
