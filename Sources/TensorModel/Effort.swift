/// How much time the search for better scales and offsets takes.
///
/// More effort is never worse in any group.
public enum Effort: String, Sendable, Hashable, CaseIterable {
  /// About two thirds of the time of `default`.
  case fast
  /// A good result in a short time.
  case `default`
  /// Several times the time of `default`, for the last per mille of the error.
  case best
}
