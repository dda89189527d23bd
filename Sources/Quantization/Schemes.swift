internal import Kernels
package import TensorModel

/// The schemes that Pleat knows; everything that lists schemes derives from here.
package enum Schemes {
  /// Every scheme, in the order of documentation.
  package static let all: [any GroupScheme.Type] = [
    MinMaxScheme.self, ZeroPointScheme.self, SymmetricScheme.self, MLXScheme.self,
    GGMLScheme.self,
  ]

  /// The scheme of a name.
  ///
  /// Throws `usage` with the names there are.
  package static func named(_ name: String) throws(ModelError) -> any GroupScheme.Type {
    if let scheme = all.first(where: { $0.name == name }) { return scheme }
    throw ModelError(
      .usage, "unknown scheme '\(name)'", expected: all.map { $0.name }.joined(separator: ", "),
      found: name)
  }
}
