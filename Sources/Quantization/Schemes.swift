package import TensorModel

/// The schemes that Pleat knows; every list of schemes is derived from this one.
package enum Schemes {
  /// Every scheme, as the documentation lists them.
  ///
  /// The order has no other meaning.
  package static let all: [Scheme] = [.minMax, .zeroPoint, .symmetric, .search, .mlx, .ggml]

  /// The scheme with a name.
  ///
  /// Throws `usage`, with all known names, if there is none.
  package static func named(_ name: String) throws(ModelError) -> Scheme {
    if let scheme = all.first(where: { $0.name == name }) { return scheme }
    throw ModelError(
      .usage, "unknown scheme '\(name)'", expected: all.map(\.name).joined(separator: ", "),
      found: name)
  }

  /// The scheme for groups with an offset, if the user names no scheme.
  package static func standard(for offset: Grouping.Offset) -> Scheme {
    switch offset {
    case .bias: .minMax
    case .zeroPoint: .zeroPoint
    case .none: .symmetric
    }
  }

  /// The scheme for blocks of llama.cpp that store no groups, if the user names no scheme that makes
  /// them.
  package static let standardForBlocks = Scheme.search

  /// The offsets in the order in which they are tried if neither user nor format prefers one.
  package static let offsetPreference: [Grouping.Offset] = [.bias, .zeroPoint, .none]
}
