package import TensorModel

/// The schemes that Pleat knows; every list of schemes is derived from this one.
package enum Schemes {
  /// Every scheme, as the documentation lists them.
  ///
  /// The order has no other meaning.
  package static let all: [Scheme] = [.search, .minMax, .zeroPoint, .symmetric, .mlx, .ggml]

  /// The scheme with a name.
  ///
  /// Throws `usage`, with all known names, if there is none.
  package static func named(_ name: String) throws(ModelError) -> Scheme {
    if let scheme = all.first(where: { $0.name == name }) { return scheme }
    throw ModelError(
      .usage, "unknown scheme '\(name)'", expected: all.map(\.name).joined(separator: ", "),
      found: name)
  }

  /// The scheme for groups and blocks if the user names none, and where the named one makes none.
  ///
  /// It makes all of them.
  package static let standard = Scheme.search
}

extension Quantizer {
  /// Whether the importance of columns changes what it makes.
  package var usesImportance: Bool {
    Schemes.all.contains { $0.name == schemeName && $0.usesImportance }
  }
}
