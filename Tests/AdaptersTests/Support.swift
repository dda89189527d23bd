import Adapters
import Bytes
import TensorModel
import TestSupport

/// The contents of an adapter file, made by hand: names, shapes and config.
struct ToyAdapter: Sendable {
  var kind: AdapterKind
  var tensors: [(name: String, shape: [Int])]
  var config: JSONValue
  var pooling: Pooling?

  /// An adapter as PEFT writes it, with rank 2, alpha 6, and some settings changed.
  static func peft(
    _ tensors: [(name: String, shape: [Int])], _ config: JSONValue = [:], pooling: Pooling? = nil
  ) -> ToyAdapter {
    let usual: JSONValue = ["peft_type": "LORA", "r": 2, "lora_alpha": 6]
    return ToyAdapter(
      kind: .peft, tensors: tensors, config: usual.changed(by: config), pooling: pooling)
  }

  /// An adapter as mlx-lm writes it, with rank 2, scale 3, and some settings changed.
  static func mlx(
    _ tensors: [(name: String, shape: [Int])], _ config: JSONValue = [:]
  ) -> ToyAdapter {
    let usual: JSONValue = [
      "fine_tune_type": "lora", "lora_parameters": ["rank": 2, "scale": 3, "dropout": 0],
    ]
    return ToyAdapter(kind: .mlx, tensors: tensors, config: usual.changed(by: config))
  }

  /// An adapter as llama.cpp's converter writes it, with alpha 6, and some metadata changed.
  static func gguf(
    _ tensors: [(name: String, shape: [Int])], _ metadata: JSONValue = [:]
  ) -> ToyAdapter {
    let usual: JSONValue = [
      "general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora",
      "adapter.lora.alpha": 6,
    ]
    return ToyAdapter(kind: .gguf, tensors: tensors, config: usual.changed(by: metadata))
  }

  var contents: AdapterContents {
    AdapterContents(
      path: "toy", config: config,
      tensors: tensors.map {
        TensorInfo(name: $0.name, shape: .of($0.shape), encoding: .plain(.f32))
      },
      pooling: pooling)
  }

  func read() throws(ModelError) -> Adapter { try kind.read(contents) }

  /// The error that `read()` throws, if any.
  var fault: ModelError? { Laws.error { () throws(ModelError) in try read() } }

  /// Random numbers for every tensor.
  func numbers(seed: UInt64) -> ToyNumbers {
    var random = Seeded(seed)
    return ToyNumbers(tensors.map { random.weights($0.shape.reduce(1, *)) })
  }
}

/// The numbers of an adapter's tensors, in memory.
struct ToyNumbers: AdapterNumbers {
  var tensors: [[Float]]

  init(_ tensors: [[Float]]) { self.tensors = tensors }

  func numbers(of tensor: Int, _ elements: Range<Int>) throws(ModelError) -> [Float] {
    Array(tensors[tensor][elements])
  }

  /// An element of a tensor, as a double.
  subscript(tensor: Int, element: Int) -> Double { Double(tensors[tensor][element]) }
}

extension JSONValue {
  /// The object with some members replaced and others appended.
  func changed(by other: JSONValue) -> JSONValue {
    var members = members ?? []
    for member in other.members ?? [] {
      if let index = members.firstIndex(where: { $0.key == member.key }) {
        members[index] = member
      } else {
        members.append(member)
      }
    }
    return .object(members)
  }
}

extension Shape {
  /// The shape with some dimensions.
  static func of(_ dimensions: [Int]) -> Shape { Shape(validating: dimensions) ?? Shape() }
}

extension AdapterChange {
  /// The names of the possible targets.
  var targets: [String] { candidates.map(\.target) }

  /// The operation; nil if there are several possible targets.
  var operation: Operation? { candidates.count == 1 ? candidates[0].operation : nil }
}

extension Adapter {
  /// The product of the first change; nil if it is not a low-rank change.
  var product: LowRank? {
    if case .lowRank(let product)? = changes.first?.operation { product } else { nil }
  }
}

/// The tensors of a base model, in F16 and in the given order.
func base(_ tensors: [(name: String, shape: [Int])]) -> [BaseTensor] {
  tensors.enumerated().map { index, tensor in
    BaseTensor(
      index: index,
      info: TensorInfo(name: tensor.name, shape: .of(tensor.shape), encoding: .plain(.f16)))
  }
}
