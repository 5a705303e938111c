"""The aligner's iteration in PyTorch, three ways; used by eli_fit.py, torch_cpu.py and cuda.py."""

import copy

import torch

HIDDEN, STEPS, STEP_SIZE, SLOPE, ALPHA = 64, 30, 0.1, 0.2, 0.99


class Autograd:
    """The original's way: autograd for the chain and for the update, an optimiser and an average over parameters."""

    def __init__(self, latent, device="cpu", decay=0.99, lr=1e-4, eps=1e-8, weights=None, **options):
        self.energy = torch.nn.Sequential(
            torch.nn.Linear(latent, HIDDEN), torch.nn.LeakyReLU(SLOPE), torch.nn.Linear(HIDDEN, 1)
        ).to(device)
        if weights is not None:
            with torch.no_grad():
                for p, w in zip(self.energy.parameters(), weights):
                    p.copy_(w)
        self.average = copy.deepcopy(self.energy)
        self.decay = decay
        # `options`: capturable and the like, where PyTorch has them.
        self.optimizer = torch.optim.RMSprop(self.energy.parameters(), lr=lr, alpha=ALPHA, eps=eps, **options)

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
        self.gradient = torch.zeros_like(self.values)
        self.shapes = [w.shape for w in weights]
        self.w1, self.b1, self.w2, _ = self.parts(self.values)
        self.g_w1, self.g_b1, self.g_w2, _ = self.parts(self.gradient)
        self.decay, self.lr, self.eps, self.hidden_chain = decay, lr, eps, hidden_chain

    def parts(self, flat):
        sizes = [shape.numel() for shape in self.shapes]
        return [part.view(shape) for part, shape in zip(flat.split(sizes), self.shapes)]

    def hidden(self, x):
        return torch.addmm(self.b1, x, self.w1.t())

    def slopes(self, h):
        return torch.where(h > 0, self.w2, SLOPE * self.w2)

    def sample(self, start):
        if self.hidden_chain:
            # The same chain in the hidden layer: h moves by G s with G = W1 W1', x once at the end.
            gram = self.w1 @ self.w1.t()
            h = self.hidden(start)
            total = torch.zeros_like(h)
            for _ in range(STEPS):
                s = self.slopes(h)
                total += s
                h.addmm_(s, gram, alpha=STEP_SIZE)
            return torch.addmm(start, total, self.w1, alpha=STEP_SIZE)
        x = start.clone()
        for _ in range(STEPS):
            x.addmm_(self.slopes(self.hidden(x)), self.w1, alpha=STEP_SIZE)
        return x

    @torch.no_grad()
    def iterate(self, previous, current):
        # Loss: mean f(sampled) - mean f(previous). The last bias' gradient is zero and stays so.
        self.gradient.zero_()
        for x, sign in ((self.sample(current), 1), (previous, -1)):
            h = self.hidden(x)
            s = self.slopes(h).mul_(sign / x.shape[0])
            self.g_w1.addmm_(s.t(), x)
            self.g_b1 += s.sum(0)
            self.g_w2 += torch.nn.functional.leaky_relu(h, SLOPE).sum(0) * (sign / x.shape[0])
        self.squares.mul_(ALPHA).addcmul_(self.gradient, self.gradient, value=1 - ALPHA)
        self.values.addcdiv_(self.gradient, self.squares.sqrt().add_(self.eps), value=-self.lr)
        self.average.mul_(self.decay).add_(self.values, alpha=1 - self.decay)

    def state(self):
        return self.parts(self.values) + self.parts(self.average)
