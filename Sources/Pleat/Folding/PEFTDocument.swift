internal import Adapters
internal import Bytes
internal import TensorModel

/// The `adapter_config.json` of an adapter with one alpha for all modules.
struct PEFTDocument {
  private let adapter: RuntimeAdapter
  private let names: [String]
  private let base: [BaseTensor]

  /// Creates the document of an adapter.
  ///
  /// - Parameters:
  ///   - adapter: The modules and their alpha.
  ///   - names: The path of each module.
  ///   - base: The tensors of the base model, to check that short names match no other module.
  init(_ adapter: RuntimeAdapter, names: [String], _ base: [BaseTensor]) {
    self.adapter = adapter
    self.names = names
    self.base = base
  }

  /// The JSON as UTF-8.
  var text: [UInt8] {
    let ranks = adapter.modules.map(\.product.rank)
    let counts = ranks.reduce(into: [:]) { $0[$1, default: 0] += 1 }
    let rank = counts.max { ($0.value, $0.key) < ($1.value, $1.key) }?.key ?? 1
    let others = zip(names, ranks).filter { $0.1 != rank }
    let document: JSONValue = [
      "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": .null,
      "r": JSONValue(rank), "lora_alpha": alpha, "lora_dropout": .number(0), "bias": "none",
      "target_modules": .array(targets.map { .string($0) }),
      "rank_pattern": .object(others.map { .init(pattern(for: $0.0), JSONValue($0.1)) }),
      "alpha_pattern": .object([]),
      "fan_in_fan_out": .bool(adapter.modules.contains(where: \.product.isTransposed)),
      "use_rslora": false, "use_dora": false, "inference_mode": true,
    ]
    return Array((JSONWriter.text(document, indentation: 2) + "\n").utf8)
  }

  /// A regular expression that matches only one of the paths.
  ///
  /// PEFT also accepts a match at the end of a longer path, unless the expression begins with `^`.
  private func pattern(for name: String) -> String {
    let isEndOfOther = names.contains { $0.hasSuffix("." + name) }
    return (isEndOfOther ? "^" : "") + name.split(separator: ".").joined(separator: "\\.")
  }

  private var alpha: JSONValue {
    Int(exactly: adapter.alpha).map { JSONValue($0) } ?? .number(adapter.alpha)
  }

  /// The last components of the paths if they match only adapted modules, otherwise complete paths.
  private var targets: [String] {
    let adapted = Set(names)
    var targets: Set<String> = []
    for name in names {
      let last = name.split(separator: ".").last.map(String.init) ?? name
      let matchesOnlyAdapted = base.allSatisfy { tensor in
        [tensor.info.name, tensor.alias ?? ""].allSatisfy { other in
          !other.hasSuffix(".\(last).weight") || adapted.contains(String(other.dropLast(7)))
        }
      }
      targets.insert(matchesOnlyAdapted ? last : name)
    }
    return targets.sorted()
  }
}
