internal import Formats
public import TensorModel

/// Recipes that name a mode of MLX.
extension Recipe {
  /// The names of the modes that `mode` accepts.
  public static var modeNames: [String] { ScaledMode.allCases.map(\.name) }

  /// The mode with a name, in any case.
  ///
  /// Throws `usage` for an unknown name.
  public static func mode(named name: String) throws(ModelError) -> ScaledMode {
    if let mode = ScaledMode(rawValue: name.lowercased()) { return mode }
    throw ModelError(
      .usage, "unknown mode", expected: modeNames.choices, found: name,
      hint: name.lowercased() == "affine" ? "leave --mode out: --bits makes such groups" : nil)
  }

  /// Throws `usage` for settings that a mode determines, or that it has no use for.
  func checkMode() throws(ModelError) {
    guard let mode else { return }
    if let type {
      throw ModelError(
        .usage, "a mode of MLX and a mix of llama.cpp exclude each other",
        expected: "--mode or --type", found: "--mode \(mode.name), --type \(type)")
    }
    func refuse(_ what: String, _ expected: String, _ found: String) -> ModelError {
      ModelError(
        .usage, "the mode \(mode.name) determines the \(what)", expected: expected, found: found,
        hint: "leave the option out, or choose another --mode; rules may make other groups")
    }
    if let bits, bits != mode.bits {
      throw refuse("bits", "--bits \(mode.bits)", "--bits \(bits)")
    }
    if let group, group != .columns(mode.groupSize) {
      throw refuse("group size", "--group-size \(mode.groupSize)", "--group-size \(group.text)")
    }
    let others: [(what: String, option: String?)] = [
      ("offset: it stores none", offset.map { "--offset \($0.rawValue.lowercased())" }),
      ("scheme: it rounds as MLX does", scheme.map { "--scheme \($0)" }),
      ("effort: it does not search", effort.map { "--effort \($0.rawValue)" }),
    ]
    for (what, option) in others {
      if let option { throw refuse(what, "no such option", option) }
    }
  }
}
