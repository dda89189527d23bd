internal import Bytes
public import Formats
internal import Kernels
public import TensorModel

/// What a model's headers tell.
public struct Inspection: Sendable {
  /// The model that was looked at.
  public let model: Model
  /// The adapters that it carries, or that it is.
  public let adapters: [AdapterSummary]
  /// Why the adapters are not understood, when they are not.
  public let adapterFault: ModelError?
  /// One line for each encoding, the one with most weights first.
  public let encodings: [EncodingSummary]

  /// The tensors of one encoding.
  public struct EncodingSummary: Sendable, Hashable {
    /// The encoding.
    public var encoding: Encoding
    /// How many tensors have it.
    public var tensorCount: Int
    /// How many weights they hold.
    public var elementCount: Int
    /// The bytes they take.
    public var byteCount: Int
  }

  /// Looks at a model; reads no weight.
  public init(_ model: Model) {
    self.model = model
    (adapters, adapterFault) = Self.adapters(of: model)
    var summaries: [Encoding: EncodingSummary] = [:]
    for (index, tensor) in model.catalog.tensors.enumerated() {
      var summary =
        summaries[tensor.encoding]
        ?? EncodingSummary(
          encoding: tensor.encoding, tensorCount: 0, elementCount: 0, byteCount: 0)
      summary.tensorCount += 1
      summary.elementCount += tensor.shape.elementCount
      summary.byteCount += model.storedByteCount(of: index)
      summaries[tensor.encoding] = summary
    }
    encodings = summaries.values.sorted {
      ($1.elementCount, $0.encoding.description) < ($0.elementCount, $1.encoding.description)
    }
  }

  private static func adapters(of model: Model) -> ([AdapterSummary], ModelError?) {
    var summaries: [AdapterSummary] = []
    do throws(ModelError) {
      if model.isAdapter { summaries.append(AdapterSummary(try AdapterFile.open(model.path))) }
      for name in model.attachedNames {
        if let file = try AdapterFile(attached: name, in: model) {
          summaries.append(AdapterSummary(file))
        }
      }
    } catch {
      return (summaries, error)
    }
    return (summaries, nil)
  }

  /// Bits for each weight, all tensors together.
  public var bitsPerWeight: Double {
    let count = model.catalog.elementCount
    return count == 0 ? 0 : Double(model.tensorByteCount) * 8 / Double(count)
  }

  /// The architecture that metadata or `config.json` names; nil when neither does.
  public var architecture: String? {
    if let name = model.catalog.metadata["general.architecture"]?.text { return name }
    guard let bytes = try? model.companion(named: "config.json"),
      let config = try? JSONParser.parse(bytes, file: "config.json")
    else { return nil }
    return config["model_type"]?.string
  }
}
