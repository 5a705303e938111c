"""The aligner's iteration in PyTorch, three ways; used by eli_fit.py and torch_worker.py."""

import copy
import inspect

import torch

HIDDEN, STEPS, STEP_SIZE, SLOPE, ALPHA = 64, 30, 0.1, 0.2, 0.99


class Autograd:
    """The original's way: autograd for the chain and for the update, an optimiser and an average over parameters."""

    def __init__(self, latent, device="cpu", decay=0.99, lr=1e-4, eps=1e-8, weights=None):
        self.energy = torch.nn.Sequential(
            torch.nn.Linear(latent, HIDDEN), torch.nn.LeakyReLU(SLOPE), torch.nn.Linear(HIDDEN, 1)
        ).to(device)
        if weights is not None:
            with torch.no_grad():
                for p, w in zip(self.energy.parameters(), weights):
                    p.copy_(w)
        self.average = copy.deepcopy(self.energy)
        self.decay = decay
        # On a GPU its step can be captured in a graph, where this version of PyTorch has that.
        has = "capturable" in inspect.signature(torch.optim.RMSprop).parameters
        capturable = {"capturable": True} if has and str(device) != "cpu" else {}
        self.optimizer = torch.optim.RMSprop(self.energy.parameters(), lr=lr, alpha=ALPHA, eps=eps, **capturable)

    def sample(self, start):
        x = start.clone().detach()
        for _ in range(STEPS):
            x.requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.energy(x).sum(), x)
            x = (x + STEP_SIZE * gradient).detach()
        return x

    def iterate(self, previous, current):
        sampled = self.sample(current)
        loss = self.energy(sampled).mean() - self.energy(previous).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for a, p in zip(self.average.parameters(), self.energy.parameters()):
                a.mul_(self.decay).add_(p, alpha=1 - self.decay)

    @torch.no_grad()
    def reset(self, weights):
        """Back to the first iteration, in the same memory."""
        for model in (self.energy, self.average):
            for p, w in zip(model.parameters(), weights):
                p.copy_(w)
        for state in self.optimizer.state.values():
            for tensor in state.values():
                if torch.is_tensor(tensor):
                    tensor.zero_()

    def state(self):
        return [t.detach() for model in (self.energy, self.average) for t in model.parameters()]


class ClosedForm:
    """Gradients written by hand, no tape; parameters in one flat tensor, so that the update is a few operations.

    Where h = W1 x + b1 and s = w2 * (1 where h > 0, else 0.2), the gradient of f by x is s W1.
    """

    def __init__(self, latent, device="cpu", decay=0.99, lr=1e-4, eps=1e-8, weights=None, hidden_chain=False):
        if weights is None:
            weights = [p.detach() for p in Autograd(latent).energy.parameters()]
        self.values = torch.cat([w.reshape(-1) for w in weights]).to(device)
        self.average = self.values.clone()
        self.squares = torch.zeros_like(self.values)
        self.shapes = [w.shape for w in weights]
        self.decay, self.lr, self.eps, self.hidden_chain = decay, lr, eps, hidden_chain

    def parts(self, flat):
        sizes = [shape.numel() for shape in self.shapes]
        return [part.view(shape) for part, shape in zip(flat.split(sizes), self.shapes)]

    def sample(self, start, w1, b1, w2):
        if self.hidden_chain:
            # The same chain in the hidden layer: h moves by G s with G = W1 W1', x once at the end.
            gram = w1 @ w1.t()
            h = torch.addmm(b1, start, w1.t())
            total = torch.zeros_like(h)
            for _ in range(STEPS):
                s = slopes(h, w2)
                total = total + s
                h = torch.addmm(h, s, gram, alpha=STEP_SIZE)
            return torch.addmm(start, total, w1, alpha=STEP_SIZE)
        x = start
        for _ in range(STEPS):
            x = torch.addmm(x, slopes(torch.addmm(b1, x, w1.t()), w2), w1, alpha=STEP_SIZE)
        return x

    @torch.no_grad()
    def iterate(self, previous, current):
        w1, b1, w2, _ = self.parts(self.values)
        sampled = self.sample(current, w1, b1, w2)
        # Loss: mean f(sampled) - mean f(previous), both halves at once. The last bias' gradient is zero.
        rows = previous.shape[0]
        x = torch.cat([sampled, previous])
        sign = torch.ones_like(x[:, :1])
        sign[rows:] = -1
        h = torch.addmm(b1, x, w1.t())
        s = slopes(h, w2) * (sign / rows)
        up = (torch.nn.functional.leaky_relu(h, SLOPE) * (sign / rows)).sum(0)
        gradient = torch.cat([(s.t() @ x).reshape(-1), s.sum(0), up, up.new_zeros(1)])
        self.squares.mul_(ALPHA).addcmul_(gradient, gradient, value=1 - ALPHA)
        self.values.addcdiv_(gradient, self.squares.sqrt().add_(self.eps), value=-self.lr)
        self.average.mul_(self.decay).add_(self.values, alpha=1 - self.decay)

    def state(self):
        return self.parts(self.values) + self.parts(self.average)

    def reset(self, weights):
        """Back to the first iteration, in the same memory."""
        for tensor in (self.values, self.average):
            tensor.copy_(torch.cat([w.reshape(-1) for w in weights]))
        self.squares.zero_()


def slopes(h, w2):
    return torch.where(h > 0, w2, SLOPE * w2)


WAYS = {
    "autograd": Autograd,
    "closed form": ClosedForm,
    "hidden layer": lambda *args, **options: ClosedForm(*args, hidden_chain=True, **options),
}
